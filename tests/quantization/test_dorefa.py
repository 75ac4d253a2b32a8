"""DoReFa against hand-computed vectors of eq. 5-11."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import qcli
from qcli_uniform.dorefa import DoReFa

W = torch.tensor([[0.9, -0.4, 0.05], [-0.2, 0.6, -1.2]])
G = torch.tensor([[0.1, -0.2, 0.3], [-0.4, 0.5, -0.6]])
X = torch.tensor([-0.3, 0.1, 0.5, 0.7, 1.2])
DETACHED = [[0.058408, -0.205274, 0.358963], [-0.461123, 0.426782, -0.21953]]


def make(role: str = "weight", shape: tuple[int, ...] = (2, 3), **options) -> DoReFa:
    return DoReFa(qcli.TensorInfo(role, shape, int(role != "weight"), "layer"), **options)


def gradient_of(quantizer: DoReFa, x: Tensor, gradient: Tensor) -> Tensor:
    latent = x.clone().requires_grad_()
    quantizer(latent).backward(gradient)
    assert latent.grad is not None
    return latent.grad


def close(actual: Tensor, expected) -> bool:
    return torch.allclose(actual, torch.as_tensor(expected, dtype=torch.float32), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("bits", "codes"),
    [
        (2, [[3, 1, 2], [1, 2, 0]]),
        (3, [[7, 2, 4], [3, 6, 0]]),
        (4, [[14, 4, 8], [6, 12, 0]]),
    ],
)
def test_weight_codes(bits: int, codes) -> None:
    quantizer = make(bits=bits)
    top = 2**bits - 1
    assert quantizer.codes(W).tolist() == codes
    assert close(quantizer(W), (2 * torch.tensor(codes) - top) / top)


def test_weight_values_of_two_bits() -> None:
    third = 1 / 3
    assert close(make(bits=2)(W), [[1, -third, third], [-third, third, -1]])


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weight_gradients(bits: int) -> None:
    """The gradient does not depend on the width; through the maximum only [1, 2] changes."""
    assert close(gradient_of(make(bits=bits, gradient_through_max=False), W, G), DETACHED)
    through = [DETACHED[0], [*DETACHED[1][:2], 0.22387]]
    assert close(gradient_of(make(bits=bits), W, G), through)


def test_largest_weights_that_tie_share_the_gradient_as_autograd_does() -> None:
    weight = torch.tensor([[0.8, -0.8, 0.1], [0.3, 0.8, -0.2]])
    reference = weight.double().requires_grad_()
    bounded = torch.tanh(reference)
    (bounded / bounded.abs().amax()).backward(G.double())
    assert reference.grad is not None
    assert close(gradient_of(make(bits=2), weight, G), reference.grad.float())


def test_tiny_weights_have_a_finite_gradient() -> None:
    assert gradient_of(make(bits=2), W * 1e-30, G).isfinite().all()


def test_one_bit_is_the_sign_times_the_mean_magnitude() -> None:
    quantizer = make(bits=1)
    quantizer.observe(W)
    assert close(quantizer.magnitude, 0.5583333)
    assert torch.equal(quantizer(W), W.sign() * quantizer.magnitude)
    assert torch.equal(gradient_of(quantizer, W, G), G)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_sign_of_zero_is_positive(zero: float) -> None:
    quantizer = make(bits=1)
    assert quantizer(torch.tensor([zero])).tolist() == [1.0]
    assert quantizer.codes(torch.tensor([zero])).tolist() == [1]


def test_one_bit_follows_the_weight_after_each_step() -> None:
    quantizer = make(bits=1)
    quantizer.after_step(2 * W)
    assert close(quantizer.magnitude, 2 * 0.5583333)


@pytest.mark.parametrize(
    ("bits", "values"),
    [(1, [0, 0, 0, 1, 1]), (2, [0, 0, 2 / 3, 2 / 3, 1])],
)
def test_input_values(bits: int, values) -> None:
    assert close(make("input", (5,), bits=bits)(X), values)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_input_gradient_passes_inside_and_on_the_bounds(bits: int) -> None:
    quantizer = make("input", (5,), bits=bits)
    gradient = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    assert close(gradient_of(quantizer, X, gradient), [0, 0.2, 0.3, 0.4, 0])
    bounds = torch.tensor([0.0, 1.0, -1e-7, 1 + 1e-6])
    assert gradient_of(quantizer, bounds, torch.ones(4)).tolist() == [1, 1, 0, 0]


def test_input_of_negative_zero_is_zero() -> None:
    assert not make("input", (1,), bits=2)(torch.tensor([-0.0])).signbit().any()


@pytest.mark.parametrize("bits", range(1, 9))
def test_codebooks(bits: int) -> None:
    top = 2**bits - 1
    step = torch.tensor(1 / top)
    assert torch.equal(make("input", (5,), bits=bits).codebook(), torch.arange(top + 1) * step)
    if bits > 1:
        weights = make(bits=bits)
        assert torch.equal(weights.codebook(), torch.arange(-top, top + 1, 2) * step)
        assert 0 not in weights.codebook()
        assert weights.bits == bits


def test_all_zero_weight_keeps_its_codes() -> None:
    quantizer = make(bits=2)
    zeros = torch.zeros(2, 3)
    assert torch.equal(quantizer.decode(quantizer.codes(zeros)), quantizer(zeros))
    assert gradient_of(quantizer, zeros, G).isfinite().all()
