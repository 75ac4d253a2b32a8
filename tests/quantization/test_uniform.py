"""The uniform baseline against hand-computed vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import qcli
from qcli.testing import check_quantizer
from qcli_uniform import percentile
from qcli_uniform.uniform import Uniform

W = torch.tensor([[0.9, -0.4, 0.05], [-0.25, 0.7, -1.1]])
X = torch.tensor([-0.5, -0.2, 0.0, 0.7, 2.5])


def make(role: str = "weight", shape: tuple[int, ...] = (2, 3), **options) -> Uniform:
    return Uniform(qcli.TensorInfo(role, shape, int(role != "weight"), "layer"), **options)


def asymmetric(**options) -> Uniform:
    quantizer = make("input", (5,), bits=4, **options)
    quantizer.observe(torch.tensor([-0.35, 1.9]))
    return quantizer


def close(actual: Tensor, expected) -> bool:
    return torch.allclose(actual, torch.as_tensor(expected, dtype=torch.float32), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("bits", "granularity", "steps", "codes"),
    [
        (4, "tensor", [0.1571429], [[6, -3, 0], [-2, 4, -7]]),
        (4, "channel", [0.1285714, 0.1571429], [[7, -3, 0], [-2, 4, -7]]),
        (8, "tensor", [0.0086614], [[104, -46, 6], [-29, 81, -127]]),
        (8, "channel", [0.0070866, 0.0086614], [[127, -56, 7], [-29, 81, -127]]),
    ],
)
def test_symmetric_weight_vectors(bits: int, granularity: str, steps, codes) -> None:
    quantizer = make(bits=bits, granularity=granularity)
    quantizer.observe(W)
    grid = quantizer.grid()
    assert close(grid.step.flatten(), steps)
    assert (quantizer.codes(W) + quantizer.lo).tolist() == codes
    step = grid.step if grid.step.dim() == 0 else grid.step.unsqueeze(-1)
    assert torch.equal(quantizer(W), torch.tensor(codes) * step)


def test_asymmetric_input_vectors() -> None:
    quantizer = asymmetric()
    grid = quantizer.grid()
    assert close(grid.step, 0.15)
    assert int(grid.zero_point) == 2
    assert quantizer.codes(X).tolist() == [0, 1, 2, 7, 15]
    assert close(quantizer(X), [-0.3, -0.15, 0, 0.75, 1.95])


def test_gradient_passes_inside_the_range_alone() -> None:
    quantizer = asymmetric()
    latent = X.clone().requires_grad_()
    quantizer(latent).backward(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert latent.grad is not None
    assert latent.grad.tolist() == [0, 2, 3, 4, 0]


def test_zero_is_a_level_even_where_the_data_has_none() -> None:
    quantizer = make("input", (2,), bits=4)
    quantizer.observe(torch.tensor([3.0, 6.0]))
    assert 0 in quantizer.codebook()
    assert close(quantizer.codebook().max(), 6)


def test_calibration_widens_the_range() -> None:
    quantizer = make("input", (2,))
    quantizer.observe(torch.tensor([-1.0, 2.0]))
    quantizer.observe(torch.tensor([-0.5, 5.0]))
    assert (float(quantizer.low), float(quantizer.high)) == (-1, 5)


def test_average_moves_once_a_step_whatever_the_micro_batches() -> None:
    quantizer = make("input", (2,), momentum=0.9)
    quantizer.observe(torch.tensor([-1.0, 2.0]))
    quantizer(torch.tensor([-2.0, 1.0]))
    quantizer(torch.tensor([0.0, 4.0]))
    assert (float(quantizer.low), float(quantizer.high)) == (-1, 2)
    quantizer.after_step(None)
    assert close(quantizer.low, -1.1)
    assert close(quantizer.high, 2.2)


def test_minmax_stays_as_calibrated() -> None:
    quantizer = make("input", (2,), observer="minmax")
    quantizer.observe(torch.tensor([-1.0, 2.0]))
    quantizer(torch.tensor([-9.0, 9.0]))
    quantizer.after_step(None)
    assert (float(quantizer.low), float(quantizer.high)) == (-1, 2)


def test_evaluation_gathers_nothing() -> None:
    quantizer = make("input", (2,)).eval()
    quantizer(torch.tensor([-9.0, 9.0]))
    assert (float(quantizer.batch_low), float(quantizer.batch_high)) == (0, 0)


def test_weight_is_followed_after_each_step() -> None:
    quantizer = make(bits=4)
    quantizer.observe(W)
    quantizer.after_step(2 * W)
    assert close(quantizer.grid().step, 2 * 0.1571429)


def test_calibration_is_not_gathered_for_a_step() -> None:
    quantizer = make("input", (2,)).train()
    with torch.no_grad():
        quantizer(torch.tensor([-9.0, 9.0]))
    assert (float(quantizer.batch_low), float(quantizer.batch_high)) == (0, 0)
    quantizer(torch.tensor([-9.0, 9.0]))
    assert (float(quantizer.batch_low), float(quantizer.batch_high)) == (-9, 9)


def test_unsigned_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="weights are signed"):
        make(signed=False)


@pytest.mark.parametrize(
    ("options", "levels"),
    [
        ({"bits": 2}, [-1, 0, 1]),
        ({"bits": 4}, list(range(-7, 8))),
        ({"bits": 2, "signed": False, "role": "input", "symmetric": True}, [0, 1, 2, 3]),
    ],
)
def test_symmetric_levels(options, levels) -> None:
    quantizer = make(**options)
    assert quantizer.grid().integers.tolist() == levels
    assert len(quantizer.codebook()) == len(levels)
    assert quantizer.bits == options["bits"]


@pytest.mark.parametrize(
    ("role", "options"),
    [("weight", {"symmetric": False}), ("input", {"granularity": "channel"})],
)
def test_what_cannot_be_is_refused(role: str, options) -> None:
    with pytest.raises(ValueError, match="weights"):
        make(role, **options)


HUNDRED = torch.arange(101.0)


def test_percentiles_leave_the_outermost_values_out() -> None:
    """The range of 0..100 less 20 ends at the 10th and the 90th percentile: at -10 and 70."""
    quantizer = make("input", (101,), observer="percentile", percentile=90)
    quantizer.observe(HUNDRED - 20)
    assert close(quantizer.low, -10)
    assert close(quantizer.high, 70)


def test_percentiles_take_in_zero() -> None:
    quantizer = make("input", (101,), observer="percentile", percentile=90)
    quantizer.observe(HUNDRED)
    assert close(quantizer.low, 0)
    assert close(quantizer.high, 90)


def test_hundredth_percentile_is_the_outermost_value() -> None:
    quantizer = make("input", (101,), observer="percentile", percentile=100)
    quantizer.observe(HUNDRED - 20)
    assert (float(quantizer.low), float(quantizer.high)) == (-20, 80)


def test_percentiles_are_averaged_over_batches_and_then_stay() -> None:
    quantizer = make("input", (101,), observer="percentile", percentile=90)
    for factor in (1, 2, 6):
        quantizer.observe(factor * (HUNDRED - 20))
    assert close(quantizer.low, -30)
    assert close(quantizer.high, 210)
    quantizer(1000 * HUNDRED)
    quantizer.after_step(None)
    assert close(quantizer.high, 210)


def test_percentiles_of_large_tensors_come_from_evenly_spaced_numbers(monkeypatch) -> None:
    monkeypatch.setattr(percentile, "LARGEST_SAMPLE", 30)
    low, high = percentile.mirrored_percentiles(HUNDRED, 75)
    kept = HUNDRED[::4]
    assert len(kept) == 26
    assert (float(low), float(high)) == (25, 75)
    assert float(torch.quantile(kept, 0.75)) == 75


def test_percentiles_of_more_numbers_than_older_torch_takes() -> None:
    x = torch.ones(percentile.LARGEST_SAMPLE + 1)
    x[::2] = 3
    assert [float(each) for each in percentile.mirrored_percentiles(x, 99)] == [3, 3]


def at(step: int) -> qcli.Progress:
    return qcli.Progress(step, total_steps=100, epoch=step // 10, total_epochs=10)


@pytest.mark.parametrize(("fraction", "step", "high"), [(0.8, 79, 2.2), (0.8, 80, 2), (1, 99, 2.2)])
def test_range_stays_from_its_fraction_on(fraction: float, step: int, high: float) -> None:
    quantizer = make("input", (2,), freeze_at_fraction=fraction)
    quantizer.observe(torch.tensor([-1.0, 2.0]))
    quantizer.on_progress(at(step))
    quantizer(torch.tensor([-1.0, 4.0]))
    quantizer.after_step(None)
    assert close(quantizer.high, high)
    assert not quantizer.batch_high.any()


def test_frozen_range_of_a_weight_follows_it_all_the_same() -> None:
    quantizer = make(bits=4, freeze_at_fraction=0.0)
    quantizer.on_progress(at(99))
    quantizer.after_step(2 * W)
    assert close(quantizer.grid().step, 2 * 0.1571429)


ENTRY = qcli.load_catalog().quantizer("uniform")
ON_DATA = replace(ENTRY, quantizes=frozenset({"input", "output"}))
ON_WEIGHTS = replace(ENTRY, quantizes=frozenset({"weight"}))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("symmetric", [True, False])
def test_laws_on_data(bits: int, symmetric: bool) -> None:
    check_quantizer(ON_DATA, {"bits": bits, "symmetric": symmetric})


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("observer", ["minmax", "ema", "percentile"])
def test_laws_of_ranges(signed: bool, symmetric: bool, observer: str) -> None:
    options: dict[str, Any] = {"signed": signed, "symmetric": symmetric, "observer": observer}
    check_quantizer(ON_DATA, options)


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_laws_on_weights(bits: int, granularity: str) -> None:
    check_quantizer(ON_WEIGHTS, {"bits": bits, "granularity": granularity})


@pytest.mark.parametrize(
    "options",
    [{"observer": "percentile", "percentile": 50}, {"freeze_at_fraction": 0.3}, {"momentum": 0.5}],
)
def test_laws_of_observers(options: dict[str, Any]) -> None:
    check_quantizer(ENTRY, options)


@pytest.mark.slow
def test_freezing_compiles_to_one_graph() -> None:
    check_quantizer(ENTRY, {"freeze_at_fraction": 0.3}, compiled=True)
