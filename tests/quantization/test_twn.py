"""TWN against hand-computed vectors of its threshold, its scale and its straight gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import qcli
from qcli.testing import check_quantizer
from qcli_binary.twn import TWN

W = torch.tensor([[0.9, -0.4, 0.05], [-0.2, 0.6, -1.2]])
G = torch.tensor([[0.1, -0.2, 0.3], [-0.4, 0.5, -0.6]])
SIGNS = torch.tensor([[1, -1, 0], [0, 1, -1]])
ENTRY = qcli.load_catalog().quantizer("twn")


def make(shape: tuple[int, ...] = (2, 3), axis: int = 0, **options) -> TWN:
    return TWN(qcli.TensorInfo("weight", shape, axis, "layer"), **options)


def observed(weight: Tensor, **options) -> TWN:
    quantizer = make(tuple(weight.shape), **options)
    quantizer.observe(weight)
    return quantizer


def close(actual: Tensor, expected) -> bool:
    return torch.allclose(actual, torch.as_tensor(expected, dtype=torch.float32), rtol=0, atol=1e-5)


def test_threshold_and_scale_of_a_layer() -> None:
    quantizer = observed(W)
    assert close(quantizer.threshold, 0.3908333)
    assert close(quantizer.scale, 0.775)
    assert close(quantizer(W), 0.775 * SIGNS)
    assert torch.equal(quantizer.codes(W), SIGNS.int() + 1)
    assert close((W - quantizer(W)).square().sum(), 0.41)


def test_threshold_and_scale_of_each_channel() -> None:
    quantizer = observed(W, granularity="channel")
    assert close(quantizer.threshold, [[0.315], [0.466667]])
    assert close(quantizer.scale, [[0.65], [0.9]])
    assert close(quantizer(W), torch.tensor([[0.65], [0.9]]) * SIGNS)
    assert close(quantizer.codebook(), [[-0.65, 0, 0.65], [-0.9, 0, 0.9]])


def test_channels_of_a_transposed_convolution_lie_on_axis_1() -> None:
    quantizer = observed(W.T, axis=1, granularity="channel")
    assert close(quantizer.scale, [[0.65, 0.9]])
    assert close(quantizer(W.T), torch.tensor([[0.65, 0.9]]) * SIGNS.T)


@pytest.mark.parametrize(("factor", "scale", "zeros"), [(0, 3.35 / 6, 0), (1, 0.9, 3), (2, 1.2, 5)])
def test_threshold_factor(factor: float, scale: float, zeros: int) -> None:
    quantizer = observed(W, threshold_factor=factor)
    assert close(quantizer.threshold, factor * 3.35 / 6)
    assert close(quantizer.scale, scale)
    assert int((quantizer(W) == 0).sum()) == zeros


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_gradient_passes_unchanged(granularity: str) -> None:
    quantizer = observed(W, granularity=granularity)
    latent = W.clone().requires_grad_()
    quantizer(latent).backward(G)
    assert latent.grad is not None
    assert torch.equal(latent.grad, G)
    assert not list(quantizer.parameters())


def test_boundary_becomes_zero() -> None:
    quantizer = make((6,))
    quantizer.threshold.fill_(0.5)
    beyond = float(torch.tensor(0.5).nextafter(torch.tensor(1.0)))
    x = torch.tensor([-beyond, -0.5, -0.0, 0.0, 0.5, beyond])
    assert quantizer(x).tolist() == [-1, 0, 0, 0, 0, 1]
    assert quantizer.codes(x).tolist() == [0, 1, 1, 1, 1, 2]


def test_no_weight_beyond_the_threshold_gives_zeros() -> None:
    """The mean of equal weights is the threshold, which none exceeds."""
    weight = torch.full((4, 4), -0.5)
    quantizer = observed(weight, threshold_factor=1.0)
    assert float(quantizer.threshold) == 0.5
    assert float(quantizer.scale) == 0
    for zeros in (quantizer(weight), quantizer.codebook()):
        assert torch.equal(zeros, torch.zeros_like(zeros))
        assert not zeros.signbit().any()


def test_channel_of_zeros_emits_positive_zeros_alone() -> None:
    quantizer = observed(torch.stack([W[0], torch.zeros(3)]), granularity="channel")
    assert close(quantizer.codebook(), [[-0.65, 0, 0.65], [0, 0, 0]])
    emitted = quantizer.eval()(-torch.ones(2, 3))
    assert torch.equal(emitted[1], torch.zeros(3))
    assert not emitted[1].signbit().any()
    assert not quantizer.codebook()[1].signbit().any()


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_baked_weight_keeps_its_codes(granularity: str) -> None:
    quantizer = observed(W, granularity=granularity).eval()
    baked = quantizer(W)
    assert torch.equal(quantizer.codes(baked), quantizer.codes(W))
    assert torch.equal(quantizer(baked), baked)


def test_threshold_and_scale_follow_the_latent_after_each_step() -> None:
    quantizer = observed(W)
    before = quantizer.state_dict()["scale"].clone()
    quantizer(2 * W)
    assert torch.equal(quantizer.scale, before)
    quantizer.after_step(2 * W)
    assert close(quantizer.threshold, 2 * 0.3908333)
    assert close(quantizer.scale, 2 * 0.775)


def test_weight_that_is_no_number_is_not_hidden() -> None:
    weight = torch.tensor([[1.0, torch.nan, -1.0]])
    assert observed(weight)(weight).isnan().all()


def test_codes_have_two_bits_and_lie_on_the_grid_of_the_scale() -> None:
    quantizer = observed(W, granularity="channel")
    grid = quantizer.grid()
    assert quantizer.bits == 2
    assert grid is not None
    assert grid.integers.tolist() == [-1, 0, 1]
    assert torch.equal(grid.step, quantizer.scale.flatten())


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("factor", [0.0, 0.7, 1.0, 3.0])
def test_obeys_the_laws(granularity: str, factor: float) -> None:
    check_quantizer(ENTRY, {"granularity": granularity, "threshold_factor": factor})


@pytest.mark.slow
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_compiles(granularity: str) -> None:
    check_quantizer(ENTRY, {"granularity": granularity}, compiled=True)
