"""Peers compute what they are named after: hand-computed numbers of each method."""

import math
from itertools import cycle, islice

import pytest
import torch
from torch import nn

from qcli.benchmark.peers.convolution import QuantizedConvolution, replace_convolutions
from qcli.benchmark.peers.lq_nets_reference import ReferenceLQ, quantize_by_reference_lq
from qcli.benchmark.peers.naive_lsq import NaiveLSQ, quantize_by_naive_lsq
from qcli.benchmark.peers.plain_training import make_plain_step
from qcli.benchmark.peers.softmax_search import SoftmaxChoice, quantize_by_softmax_search
from qcli.benchmark.peers.torchvision_loader import endless_batches
from qcli.training.splits import ArraySplit, Normalization

QUANTIZE = {
    "lsq": lambda model: quantize_by_naive_lsq(model, 4),
    "lq_nets": lambda model: quantize_by_reference_lq(model, 2),
    "search": lambda model: quantize_by_softmax_search(model, (-1.0, 0.0, 1.0), hard=True),
}


def make_network():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def test_lsq():
    """Step 0.5, codes -2..1: 0.6 rounds to 1, 3 is above, -9 below; eq. 3 by hand."""
    quantizer = NaiveLSQ(-2, 1)
    quantizer.step_size.data.fill_(0.5)
    x = torch.tensor([0.3, 1.5, -4.5], requires_grad=True)
    value = quantizer(x)
    assert value.tolist() == [0.5, 0.5, -1.0]
    value.sum().backward()
    assert x.grad.tolist() == [1.0, 0.0, 0.0]
    # (1 - 0.6) + 1 - 2, over sqrt(3 * 1).
    assert quantizer.step_size.grad.item() == pytest.approx(-0.6 / 3**0.5, abs=1e-6)


def test_lsq_starts_from_the_first_tensor():
    quantizer = NaiveLSQ(0, 4)
    quantizer(torch.tensor([1.0, 3.0]))
    assert quantizer.step_size.item() == 2.0


def test_lq_nets_of_weights():
    """Levels -0.7 -0.3 0.3 0.7; B'B = 6 I, B'x = (2.05, 3.35): least squares by hand."""
    quantizer = ReferenceLQ(torch.tensor([[0.2, 0.5]]), signed=True)
    x = torch.tensor([[0.9, -0.4, 0.05, -0.2, 0.6, -1.2]], requires_grad=True)
    value = quantizer(x)
    assert torch.allclose(value, torch.tensor([[0.7, -0.3, 0.3, -0.3, 0.7, -0.7]]))
    assert torch.allclose(quantizer.basis, torch.tensor([[0.214166, 0.505833]]), atol=1e-5)
    value.sum().backward()
    assert x.grad.tolist() == [[1.0] * 6]


def test_lq_nets_of_inputs():
    """Levels 0 0.3 0.6 0.9; B'B = [[4, 2], [2, 3]], B'x = (2.5, 2.4)."""
    quantizer = ReferenceLQ(torch.tensor([[0.3, 0.6]]), signed=False)
    x = torch.tensor([0.0, 0.1, 0.4, 0.5, 0.8, 1.1, 0.2], requires_grad=True)
    value = quantizer(x)
    assert torch.allclose(value, torch.tensor([0, 0, 0.3, 0.6, 0.9, 0.9, 0.3]))
    assert torch.allclose(quantizer.basis, torch.tensor([[0.30375, 0.5975]]), atol=1e-5)
    value.sum().backward()
    assert x.grad.tolist() == [1, 1, 1, 1, 1, 0, 1]


def test_lq_nets_rests_while_it_is_evaluated():
    quantizer = ReferenceLQ(torch.tensor([[0.3, 0.6]]), signed=False).eval()
    quantizer(torch.rand(8))
    assert torch.equal(quantizer.basis, torch.tensor([[0.3, 0.6]]))


@pytest.mark.parametrize(("hard", "value"), [(False, 0.5), (True, 1.0)])
def test_search(hard, value):
    """Chances 1/4 and 3/4 of -1 and 1: expected 1/2; d/dA_k = p_k (v_k - 1/2) either way."""
    choice = SoftmaxChoice((-1.0, 1.0), hard=hard)
    logits = torch.tensor([0.0, math.log(3)]).reshape(2, 1, 1, 1, 1)
    logits.requires_grad_()
    weight = choice(logits)
    assert weight.item() == pytest.approx(value, abs=1e-6)
    weight.sum().backward()
    assert logits.grad.flatten().tolist() == pytest.approx([-0.375, 0.375], abs=1e-6)


def test_all_convolutions_but_the_first_are_replaced():
    model = make_network()
    replace_convolutions(model, lambda layer: QuantizedConvolution(layer, nn.Identity()))
    found = [type(layer) for layer in model]
    assert found[0] is nn.Conv2d
    assert found[2] is QuantizedConvolution


def test_a_replaced_convolution_computes_the_same():
    layer = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False)
    x = torch.randn(2, 4, 7, 7)
    assert torch.equal(QuantizedConvolution(layer, nn.Identity())(x), layer(x))


@pytest.mark.parametrize("name", QUANTIZE)
def test_every_peer_trains(name):
    torch.manual_seed(0)
    model = make_network()
    QUANTIZE[name](model)
    batches = cycle([(torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3]))])
    step = make_plain_step(model, batches)
    before = {key: value.clone() for key, value in model.named_parameters()}
    step()
    step()
    assert all(not torch.equal(value, before[key]) for key, value in model.named_parameters())


def test_the_loader_normalizes_and_never_ends():
    images = torch.full((6, 3, 32, 32), 255, dtype=torch.uint8)
    split = ArraySplit(images, torch.arange(6))
    batches = endless_batches(split, Normalization((0.5,) * 3, (0.25,) * 3), 4)
    for pixels, labels in islice(batches, 3):
        assert pixels.shape == (4, 3, 32, 32)
        assert labels.shape == (4,)
        # White is 2; what a crop brings in is black, -2.
        assert set(pixels.unique().tolist()) <= {-2.0, 2.0}
        assert pixels[:, :, 4:-4, 4:-4].eq(2).all()
