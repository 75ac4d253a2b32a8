"""TTQ against hand-computed vectors of its values, its thresholds and its three gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import qcli
from qcli.testing import check_quantizer
from qcli_binary.ttq import TTQ, _QuantizeTTQ

W = torch.tensor([[0.9, -0.4, 0.05], [-0.2, 0.6, -1.2]])
G = torch.tensor([[0.1, -0.2, 0.3], [-0.4, 0.5, -0.6]])
ENTRY = qcli.load_catalog().quantizer("ttq")
VARIANTS = [
    {"threshold_factor": 0.0},
    {"threshold_factor": 0.05},
    {"threshold_factor": 0.9},
    {"initial_scales": "mean"},
    *({"threshold": "sparsity", "sparsity": share} for share in (0.0, 0.5, 0.9)),
    {"threshold": "sparsity", "initial_scales": "mean"},
]


def observed(weight: Tensor, **options) -> TTQ:
    info = qcli.TensorInfo("weight", tuple(weight.shape), 0, "layer")
    quantizer = TTQ(info, **options)
    quantizer.observe(weight)
    return quantizer


def with_scales(positive: float, negative: float, **options) -> TTQ:
    quantizer = observed(W, **options)
    with torch.no_grad():
        quantizer.positive_scale.fill_(positive)
        quantizer.negative_scale.fill_(negative)
    return quantizer


def close(actual: Tensor | None, expected) -> bool:
    assert actual is not None
    wanted = torch.as_tensor(expected, dtype=torch.float32)
    return torch.allclose(actual, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("factor", "signs", "by_positive", "by_negative", "by_weight"),
    [
        (0.05, [[1, -1, 0], [-1, 1, -1]], 0.6, 1.2, [[0.08, -0.1, 0.3], [-0.2, 0.4, -0.3]]),
        (0.3, [[1, -1, 0], [0, 1, -1]], 0.6, 0.8, [[0.08, -0.1, 0.3], [-0.4, 0.4, -0.3]]),
    ],
)
def test_values_and_gradients(
    factor: float, signs, by_positive: float, by_negative: float, by_weight
) -> None:
    quantizer = with_scales(0.8, 0.5, threshold_factor=factor)
    assert close(quantizer.threshold, factor * 1.2)
    latent = W.clone().requires_grad_()
    result = quantizer(latent)
    result.backward(G)
    values = {1: 0.8, 0: 0.0, -1: -0.5}
    assert close(result.detach(), [[values[sign] for sign in row] for row in signs])
    assert (quantizer.codes(W) - 1).tolist() == signs
    assert close(latent.grad, by_weight)
    assert close(quantizer.positive_scale.grad, by_positive)
    assert close(quantizer.negative_scale.grad, by_negative)


def test_values_are_a_sign_and_a_magnitude() -> None:
    """The value is (Wp + Wn) / 2 * T + (Wp - Wn) / 2 * |T|, T the sign."""
    quantizer = with_scales(0.8, 0.5, threshold_factor=0.3)
    signs = quantizer.codes(W) - 1
    assert close(quantizer(W).detach(), (1.3 * signs + 0.3 * signs.abs()) / 2)
    assert close(quantizer.codebook(), [-0.5, 0, 0.8])


def test_gradients_of_both_scales_are_derivatives() -> None:
    """Finite differences agree, the sign of dL/dWn included."""
    scales = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.8, 0.5)]
    threshold = torch.tensor(0.06)

    def quantize(positive: Tensor, negative: Tensor) -> Tensor:
        result: Tensor = _QuantizeTTQ.apply(W.double(), threshold, positive, negative)
        return result

    assert torch.autograd.gradcheck(quantize, scales)


def test_boundary_becomes_zero_and_its_gradient_passes() -> None:
    quantizer = observed(torch.tensor([1.0, -1.0]), threshold_factor=0.5)
    with torch.no_grad():
        quantizer.positive_scale.fill_(3.0)
        quantizer.negative_scale.fill_(2.0)
    beyond = float(torch.tensor(0.5).nextafter(torch.tensor(1.0)))
    latent = torch.tensor([-beyond, -0.5, -0.0, 0.5, beyond], requires_grad=True)
    result = quantizer(latent)
    result.sum().backward()
    assert result.tolist() == [-2, 0, 0, 0, 3]
    assert not result[1:].signbit().any()
    assert quantizer.codes(latent).tolist() == [0, 1, 1, 1, 2]
    assert latent.grad is not None
    assert latent.grad.tolist() == [2, 1, 1, 1, 3]


@pytest.mark.parametrize(
    ("sparsity", "threshold", "signs"),
    [
        (0.0, 0.0, [[1, -1, 1], [-1, 1, -1]]),
        (0.2, 0.05, [[1, -1, 0], [-1, 1, -1]]),
        (1 / 3, 0.2, [[1, -1, 0], [0, 1, -1]]),
        (0.5, 0.4, [[1, 0, 0], [0, 1, -1]]),
        (0.99, 0.9, [[0, 0, 0], [0, 0, -1]]),
    ],
)
def test_sparsity_is_the_share_of_zeros(sparsity: float, threshold: float, signs) -> None:
    quantizer = observed(W, threshold="sparsity", sparsity=sparsity)
    assert close(quantizer.threshold, threshold)
    assert (quantizer.codes(W) - 1).tolist() == signs


def test_zero_stays_zero_without_sparsity() -> None:
    weight = torch.tensor([0.0, -0.0, 1e-30])
    assert observed(weight, threshold="sparsity", sparsity=0.0)(weight).tolist() == [0, 0, 1]


def test_single_weight_is_kept_whatever_the_sparsity() -> None:
    weight = torch.tensor([[-0.3]])
    assert observed(weight, threshold="sparsity", sparsity=0.9)(weight).tolist() == [[-1]]


def test_scales_start_at_one() -> None:
    assert observed(W).codebook().tolist() == [-1, 0, 1]


def test_scales_start_at_the_mean_of_each_side() -> None:
    assert close(observed(W, initial_scales="mean").codebook(), [-0.6, 0, 0.75])


def test_side_without_weights_starts_at_the_smallest_scale() -> None:
    book = observed(W.abs(), initial_scales="mean").codebook()
    assert book.tolist()[0] == -float(torch.tensor(1e-6))
    assert close(book, [-1e-6, 0, (0.9 + 0.4 + 0.2 + 0.6 + 1.2) / 5])


def test_scales_stay_positive_and_the_threshold_follows_the_latent() -> None:
    quantizer = with_scales(-0.1, 0.0)
    quantizer.after_step(2 * W)
    assert quantizer.codebook().tolist() == [
        -float(torch.tensor(1e-6)),
        0,
        float(torch.tensor(1e-6)),
    ]
    assert close(quantizer.threshold, 0.05 * 2.4)


def test_step_leaves_good_scales_alone() -> None:
    """Means start the scales; they are never measured again."""
    quantizer = observed(W, initial_scales="mean")
    before = quantizer.codebook()
    quantizer.after_step(2 * W)
    assert torch.equal(quantizer.codebook(), before)


def test_scales_are_trained_without_weight_decay() -> None:
    quantizer = observed(W)
    assert {name for name, _ in quantizer.named_parameters()} == {
        "positive_scale",
        "negative_scale",
    }
    assert quantizer.parameter_defaults["quantizer"].weight_decay == 0


def test_gradients_of_half_precision_weights_are_summed_in_float32() -> None:
    weight = torch.ones(4096, dtype=torch.bfloat16, requires_grad=True)
    quantizer = observed(weight.detach())
    quantizer(weight).sum().backward()
    assert quantizer.positive_scale.grad is not None
    assert float(quantizer.positive_scale.grad) == 4096
    assert weight.grad is not None
    assert weight.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_obeys_the_laws(options) -> None:
    check_quantizer(ENTRY, options)


@pytest.mark.slow
@pytest.mark.parametrize("threshold", ["max", "sparsity"])
def test_compiles(threshold: str) -> None:
    check_quantizer(ENTRY, {"threshold": threshold}, compiled=True)
