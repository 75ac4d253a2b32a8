"""The uniform baseline against hand-computed vectors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import qcli
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


@pytest.mark.parametrize(
    ("options", "levels"),
    [
        ({"bits": 2}, [-1, 0, 1]),
        ({"bits": 4}, list(range(-7, 8))),
        ({"bits": 2, "signed": False}, [0, 1, 2, 3]),
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
