"""WRPN against hand-computed vectors: weights in [-1, 1], activations in [0, 1]."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import qcli
from qcli.testing import check_quantizer
from qcli_uniform.wrpn import WRPN

ENTRY = qcli.load_catalog().quantizer("wrpn")
W = torch.tensor([[0.9, -0.4, 0.05], [-0.2, 0.6, -1.2]])
G = torch.tensor([[0.1, -0.2, 0.3], [-0.4, 0.5, -0.6]])
X = torch.tensor([-0.3, 0.1, 0.5, 0.7, 1.2])


def make(role: str = "weight", shape: tuple[int, ...] = (2, 3), **options) -> WRPN:
    return WRPN(qcli.TensorInfo(role, shape, int(role != "weight"), "layer"), **options)


def gradient_of(quantizer: WRPN, x: Tensor, gradient: Tensor) -> Tensor:
    latent = x.clone().requires_grad_()
    quantizer(latent).backward(gradient)
    assert latent.grad is not None
    return latent.grad


def close(actual: Tensor, expected) -> bool:
    return torch.allclose(actual, torch.as_tensor(expected, dtype=torch.float32), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("bits", "integers", "divisor"),
    [(2, [[1, 0, 0], [0, 1, -1]], 1), (4, [[6, -3, 0], [-1, 4, -7]], 7)],
)
def test_weight_vectors(bits: int, integers, divisor: int) -> None:
    quantizer = make(bits=bits)
    assert close(quantizer(W), torch.tensor(integers) / divisor)
    assert (quantizer.codes(W) - divisor).tolist() == integers
    # Only -1.2 is outside the clip.
    assert torch.equal(gradient_of(quantizer, W, G), torch.where(W < -1, 0.0, G))


@pytest.mark.parametrize(
    ("options", "pretrained", "followed_by", "spread"),
    [
        ({}, False, None, True),
        ({}, True, "BatchNorm2d", True),
        ({}, True, None, False),
        ({"bits": 1}, False, "BatchNorm2d", False),
        ({"initial_weights": "given"}, False, None, False),
        ({"initial_weights": "spread"}, True, None, True),
    ],
)
def test_small_weights_start_spread(
    options: dict[str, object], pretrained: bool, followed_by: str | None, spread: bool
) -> None:
    info = qcli.TensorInfo("weight", (2, 3), followed_by=followed_by, pretrained=pretrained)
    latent = WRPN(info, **options).right_inverse(W / 100)
    assert close(latent, W / 1.2 if spread else W / 100)


def test_a_layer_of_zeros_starts_as_zeros() -> None:
    assert torch.equal(make().right_inverse(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_full_weight_is_one_and_no_more() -> None:
    """R counts 2^(b-1) - 1 steps up to 1, where half of 2^b - 1 would leave the clip."""
    assert make(bits=4)(torch.tensor([1.0, 5.0, -5.0])).tolist() == [1, 1, -1]
    assert make(bits=2).codebook().tolist() == [-1, 0, 1]


def test_ties_round_to_even_and_zero_is_positive() -> None:
    result = make(bits=2)(torch.tensor([-0.5, -0.0, 0.5]))
    assert result.tolist() == [0, 0, 0]
    assert not result.signbit().any()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_gradient_passes_inside_and_on_the_bounds(bits: int) -> None:
    edges = torch.tensor([-1.0, 1.0, -1.001, 1.001, 0.0])
    assert gradient_of(make(bits=bits), edges, torch.ones(5)).tolist() == [1, 1, 0, 0, 1]
    edges = torch.tensor([0.0, 1.0, -0.001, 1.001, 0.5])
    data = make("input", (5,), bits=bits)
    assert gradient_of(data, edges, torch.ones(5)).tolist() == [1, 1, 0, 0, 1]


def test_one_bit_is_the_sign() -> None:
    quantizer = make(bits=1)
    quantizer.observe(W)
    assert quantizer(W).tolist() == [[1, -1, 1], [-1, 1, -1]]
    assert quantizer(torch.tensor([-0.0, 0.0])).tolist() == [1, 1]
    assert quantizer.codes(torch.tensor([-0.0, -0.1])).tolist() == [1, 0]


@pytest.mark.parametrize("axis", [0, 1])
def test_one_bit_can_have_the_mean_magnitude_of_its_channel(axis: int) -> None:
    quantizer = WRPN(qcli.TensorInfo("weight", (2, 3), axis, "layer"), bits=1, scale="mean")
    quantizer.observe(W)
    mean = [[0.45], [0.6666667]] if axis == 0 else [[0.55, 0.5, 0.625]]
    assert close(quantizer(W), W.sign() * torch.tensor(mean))
    assert torch.equal(gradient_of(quantizer, W, G), torch.where(W < -1, 0.0, G))
    quantizer.after_step(2 * W)
    assert close(quantizer.magnitude, 2 * torch.tensor(mean))


@pytest.mark.parametrize(("bits", "values"), [(1, [0, 0, 0, 1, 1]), (2, [0, 0, 2 / 3, 2 / 3, 1])])
def test_input_values(bits: int, values) -> None:
    assert close(make("input", (5,), bits=bits)(X), values)


@pytest.mark.parametrize("bits", range(2, 9))
def test_codebooks(bits: int) -> None:
    half, top = 2 ** (bits - 1) - 1, 2**bits - 1
    weights, data = make(bits=bits), make("input", (5,), bits=bits)
    assert torch.equal(weights.codebook(), torch.arange(-half, half + 1) * torch.tensor(1 / half))
    assert torch.equal(data.codebook(), torch.arange(top + 1) * torch.tensor(1 / top))
    assert (weights.bits, data.bits) == (bits, bits)


def test_32_bits_are_float_and_can_keep_the_clip_of_activations() -> None:
    for quantizer in (make(bits=32), make(bits=32, keep_nonlinearity=True)):
        assert torch.equal(quantizer(W), W)
    assert torch.equal(make("input", (5,), bits=32)(X), X)
    kept = make("input", (5,), bits=32, keep_nonlinearity=True)
    assert close(kept(X), [0, 0.1, 0.5, 0.7, 1])
    assert gradient_of(kept, X, torch.ones(5)).tolist() == [0, 1, 1, 1, 0]
    assert kept.bits == 32


@pytest.mark.parametrize("bits", [*range(1, 9), 32])
def test_every_width_obeys(bits: int) -> None:
    check_quantizer(ENTRY, {"bits": bits})


def test_every_option_obeys() -> None:
    check_quantizer(replace(ENTRY, quantizes=frozenset({"weight"})), {"bits": 1, "scale": "mean"})
    check_quantizer(ENTRY, {"bits": 32, "keep_nonlinearity": True})


@pytest.mark.slow
@pytest.mark.parametrize("bits", [1, 4])
def test_compiles(bits: int) -> None:
    check_quantizer(ENTRY, {"bits": bits}, compiled=True)
