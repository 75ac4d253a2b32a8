"""LSQ against hand-computed vectors of eq. 1-5; the boundaries belong to the step's gradient."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import qcli
from qcli.testing import check_quantizer
from qcli_uniform.lsq import LSQ

W = torch.tensor([[0.9, -0.4, 0.05], [-0.2, 0.6, -1.2]])
G = torch.tensor([[0.1, -0.2, 0.3], [-0.4, 0.5, -0.6]])
X = torch.tensor([[-0.3, 0.1, 0.5, 0.7], [1.2, 0.25, 2.0, 1.5]])
GX = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]])


def make(role: str, shape: tuple[int, ...], **options) -> LSQ:
    axis = 0 if role == "weight" else 1
    return LSQ(qcli.TensorInfo(role, shape, axis, "layer"), **options)


def run(quantizer: LSQ, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the result, the gradient of x, and that of the step."""
    latent = x.clone().requires_grad_()
    result = quantizer(latent)
    result.backward(gradient)
    assert latent.grad is not None
    assert quantizer.step_size.grad is not None
    return result.detach(), latent.grad, quantizer.step_size.grad


def close(actual: Tensor, expected) -> bool:
    return torch.allclose(actual, torch.as_tensor(expected, dtype=torch.float32), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("bits", "codes", "by_weight", "raw", "by_step"),
    [
        (2, [[1, -1, 0], [0, 1, -2]], [[0, -0.2, 0.3], [-0.4, 0, 0]], 1.65, 0.6736097),
        (4, [[2, -1, 0], [0, 1, -2]], G.tolist(), -0.47, -0.0725226),
    ],
)
def test_weight_vectors(bits: int, codes, by_weight, raw: float, by_step: float) -> None:
    quantizer = make("weight", (2, 3), bits=bits, initial_step=0.5)
    result, latent_gradient, step_gradient = run(quantizer, W, G)
    assert torch.equal(result, torch.tensor(codes) * 0.5)
    assert torch.equal(quantizer.codes(W) + quantizer.lo, torch.tensor(codes, dtype=torch.int32))
    assert close(latent_gradient, by_weight)
    assert close(step_gradient, by_step)
    assert close(step_gradient / quantizer.gradient_scale, raw)


@pytest.mark.parametrize(
    ("bits", "elements"),
    [
        (2, [[1, -0.2, -0.1], [0.4, 1, -2]]),
        (4, [[0.2, -0.2, -0.1], [0.4, -0.2, 0.4]]),
    ],
)
def test_every_element_of_the_step_gradient(bits: int, elements) -> None:
    for place in range(6):
        one = torch.zeros(6)
        one[place] = 1
        quantizer = make("weight", (2, 3), bits=bits, initial_step=0.5)
        step_gradient = run(quantizer, W, one.reshape(2, 3))[2] / quantizer.gradient_scale
        assert close(step_gradient, torch.tensor(elements).flatten()[place])


def test_unsigned_input_vectors() -> None:
    quantizer = make("input", (4,), bits=2, signed=False, initial_step=0.5)
    result, by_input, by_step = run(quantizer, X, GX)
    assert result.tolist() == [[0, 0, 0.5, 0.5], [1, 0, 1.5, 1.5]]
    assert close(by_input, [[0, 0.2, 0.3, 0.4], [0.5, 0.6, 0, 0]])
    assert close(by_step, 1.0969655)
    assert close(by_step / quantizer.gradient_scale, 3.8)


@pytest.mark.parametrize(
    ("role", "x", "bits", "signed", "step"),
    [
        ("weight", W, 2, True, 1.1166667),
        ("weight", W, 4, True, 0.4220603),
        ("input", X, 2, False, 0.9454110),
    ],
)
def test_step_starts_at_twice_the_mean_magnitude(
    role: str, x: Tensor, bits: int, signed: bool, step: float
) -> None:
    shape = tuple(x.shape) if role == "weight" else tuple(x.shape[1:])
    quantizer = make(role, shape, bits=bits, signed=signed)
    quantizer.observe(x)
    assert close(quantizer.step_size.detach(), step)


def test_initial_step_is_kept_whatever_is_observed() -> None:
    quantizer = make("weight", (2, 3), initial_step=0.5)
    quantizer.observe(W)
    assert float(quantizer.step_size.detach()) == 0.5


def test_inputs_start_from_the_first_batch_alone() -> None:
    quantizer = make("input", (4,), bits=2, signed=False)
    quantizer.observe(X)
    step = float(quantizer.step_size.detach())
    quantizer.observe(100 * X)
    assert float(quantizer.step_size.detach()) == step


@pytest.mark.parametrize("shape", [(2, 3), (4, 6)])
def test_gradient_scale_counts_one_sample(shape: tuple[int, ...]) -> None:
    weight = make("weight", shape, bits=4)
    assert weight.gradient_scale == 1 / math.sqrt(math.prod(shape) * 7)
    sample = make("input", shape, bits=4, signed=False)
    assert sample.gradient_scale == 1 / math.sqrt(math.prod(shape) * 15)


def test_boundaries_are_outside() -> None:
    """At x/s = lo and hi the latent gets nothing, and the step gets lo and hi."""
    quantizer = make("weight", (2,), bits=2, initial_step=0.5)
    edges = torch.tensor([-1.0, 0.5])
    _, by_weight, by_step = run(quantizer, edges, torch.tensor([1.0, 10.0]))
    assert by_weight.tolist() == [0, 0]
    assert close(by_step / quantizer.gradient_scale, -2 + 10)


def test_ties_round_to_even() -> None:
    quantizer = make("weight", (6,), bits=4, initial_step=1.0)
    x = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    assert quantizer(x).tolist() == [-2, -2, 0, 0, 2, 2]


def test_no_negative_zero() -> None:
    quantizer = make("weight", (3,), bits=4, initial_step=1.0)
    result = quantizer(torch.tensor([-0.1, -0.0, 0.1]))
    assert not result.signbit().any()


@pytest.mark.parametrize(
    ("bits", "signed", "levels"),
    [
        (2, True, [-2, -1, 0, 1]),
        (3, True, list(range(-4, 4))),
        (1, False, [0, 1]),
        (2, False, [0, 1, 2, 3]),
        (8, False, list(range(256))),
    ],
)
def test_codebook_is_the_multiples_of_the_step(bits: int, signed: bool, levels) -> None:
    quantizer = make("input" if not signed else "weight", (4,), bits=bits, signed=signed)
    assert quantizer.codebook().tolist() == levels
    assert quantizer.bits == bits
    grid = quantizer.grid()
    assert grid is not None
    assert grid.integers.tolist() == levels


def test_one_signed_bit_is_the_sign_and_zero_is_positive() -> None:
    quantizer = make("weight", (2, 3), bits=1)
    quantizer.observe(W)
    assert close(quantizer.step_size.detach(), 0.5583333)
    x = torch.tensor([-1.0, -0.0, 0.0, 1.0])
    assert (quantizer(x) / quantizer.step_size).tolist() == [-1, 1, 1, 1]
    assert quantizer.codes(x).tolist() == [0, 1, 1, 1]


def test_one_signed_bit_gradients() -> None:
    quantizer = make("weight", (4,), bits=1, initial_step=0.5)
    x = torch.tensor([-0.6, -0.25, 0.1, 0.5])
    _, by_weight, by_step = run(quantizer, x, torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert by_weight.tolist() == [0, 2, 3, 0]
    # Elements: -1 outside, -1 + 0.5 and 1 - 0.2 inside, 1 on the boundary.
    assert close(by_step / quantizer.gradient_scale, -1 - 1.0 + 2.4 + 4)


@pytest.mark.parametrize("axis", [0, 1])
def test_channels_have_steps_of_their_own(axis: int) -> None:
    info = qcli.TensorInfo("weight", (2, 3), axis, "layer")
    quantizer = LSQ(info, bits=2, granularity="channel")
    quantizer.observe(W)
    assert quantizer.step_size.shape == ((2, 1) if axis == 0 else (1, 3))
    assert close(quantizer.step_size.detach(), 2 * W.abs().mean(1 - axis, keepdim=True))
    parts = W.unbind(axis)
    assert quantizer.gradient_scale == 1 / math.sqrt(parts[0].numel())
    result, by_weight, by_step = run(quantizer, W, G)
    for channel, (part, gradient) in enumerate(zip(parts, G.unbind(axis), strict=True)):
        alone = make("weight", tuple(part.shape), bits=2)
        alone.observe(part)
        expected = run(alone, part, gradient)
        assert torch.equal(result.select(axis, channel), expected[0])
        assert torch.equal(by_weight.select(axis, channel), expected[1])
        assert close(by_step.flatten()[channel], expected[2])


def test_channels_lie_on_a_grid_of_their_own_steps() -> None:
    quantizer = make("weight", (2, 3), bits=3, granularity="channel")
    quantizer.observe(W)
    grid = quantizer.grid()
    assert grid is not None
    assert torch.equal(grid.step, quantizer.step_size.detach().flatten())
    assert grid.integers.tolist() == list(range(-4, 4))


def test_step_stays_positive() -> None:
    quantizer = make("weight", (2, 3))
    with torch.no_grad():
        quantizer.step_size.fill_(-0.1)
    quantizer.after_step(None)
    assert float(quantizer.step_size.detach()) == torch.finfo(torch.float32).eps


def test_all_zero_batch_starts_at_the_smallest_step() -> None:
    quantizer = make("input", (4,), signed=False)
    quantizer.observe(torch.zeros(2, 4))
    assert float(quantizer.step_size.detach()) > 0


def test_step_that_is_not_learned_gets_no_gradient() -> None:
    quantizer = make("weight", (2, 3), learned=False, initial_step=0.5)
    latent = W.clone().requires_grad_()
    quantizer(latent).backward(G)
    assert quantizer.step_size.grad is None
    assert latent.grad is not None


@pytest.mark.parametrize(
    ("role", "options"),
    [("input", {"granularity": "channel"}), ("output", {"bits": 1})],
)
def test_what_cannot_be_is_refused(role: str, options) -> None:
    with pytest.raises(ValueError, match="weights"):
        make(role, (4,), **options)


ENTRY = qcli.load_catalog().quantizer("lsq")
ON_WEIGHTS = replace(ENTRY, quantizes=frozenset({"weight"}))
ON_DATA = replace(ENTRY, quantizes=frozenset({"input", "output"}))


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_laws_on_weights(bits: int, granularity: str) -> None:
    check_quantizer(ON_WEIGHTS, {"bits": bits, "granularity": granularity})


def test_unsigned_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="weights are signed"):
        make("weight", (2, 3), signed=False)


def test_a_filter_of_zeros_is_not_sick() -> None:
    quantizer = make("weight", (2, 3), granularity="channel")
    weight = torch.tensor([[0.0, 0.0, 0.0], [0.5, -0.5, 0.5]])
    latent = quantizer.right_inverse(weight)
    assert quantizer.health(latent) == {"step": pytest.approx(2 * 0.5 / math.sqrt(7))}
    assert quantizer.health(torch.zeros(2, 3)) == {}


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("signed", [True, False])
def test_laws_on_data(bits: int, signed: bool) -> None:
    if bits > 1 or not signed:
        check_quantizer(ON_DATA, {"bits": bits, "signed": signed})


@pytest.mark.parametrize("options", [{"initial_step": 0.3}, {"learned": False}])
def test_laws_of_steps(options: dict[str, Any]) -> None:
    check_quantizer(ENTRY, options)


@pytest.mark.slow
def test_channels_compile_to_one_graph() -> None:
    check_quantizer(ON_WEIGHTS, {"granularity": "channel"}, compiled=True)
