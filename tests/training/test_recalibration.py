"""Batch norms with the statistics of hard weights, while weights train soft."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from qcli.quantization.quantizer import Quantizer
from qcli.training.recalibration import recalibrated, share_buffers

NORMS = ("norm1", "norm2")


class Soft(Quantizer):
    """Trains with three times the weight, and is deployed with its sign."""

    def forward(self, latent):
        return 3 * latent if self.training else latent.sign() * 0.5

    def codebook(self):
        return torch.tensor([-0.5, 0.0, 0.5])


@pytest.fixture
def network(make_network, quantize_by):
    torch.manual_seed(0)
    network = quantize_by(
        make_network(norm=True), (3, 6, 6), {"weight": {"quantizer": "own"}}, own=Soft
    )
    network.norm2.momentum = 0.3
    for _ in range(3):
        network(torch.randn(4, 3, 6, 6) + 5)
    return network


def random_batches():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(size, 3, 6, 6, generator=generator) for size in (8, 8, 5)]


def norm_state(network):
    return {
        name: value.clone()
        for name, value in network.state_dict().items()
        if name.startswith(NORMS) and not name.endswith(("weight", "bias"))
    }


def convolve_hard(images, conv):
    weight = conv.parametrizations.weight.original.sign() * 0.5
    return functional.conv2d(images, weight, conv.bias)


def normalize_by_batch(values):
    mean = values.mean((0, 2, 3), keepdim=True)
    variance = values.var((0, 2, 3), keepdim=True, unbiased=False)
    return (values - mean) / (variance + 1e-5).sqrt()


def estimate_naively(network, batches):
    """Return mean and variance of both norms: the average over batches of each batch's own."""
    found = {name: ([], []) for name in NORMS}
    for images in batches:
        for name, conv in zip(NORMS, (network.conv1, network.conv2), strict=True):
            values = convolve_hard(images, conv)
            found[name][0].append(values.mean((0, 2, 3)))
            found[name][1].append(values.var((0, 2, 3)))
            images = normalize_by_batch(values).relu()
    return {name: [torch.stack(part).mean(0) for part in parts] for name, parts in found.items()}


@pytest.mark.parametrize("count", [1, 3])
def test_statistics_are_those_of_hard_weights(network, count):
    batches = random_batches()[:count]
    with torch.no_grad():
        expected = estimate_naively(network, batches)
    with recalibrated(network, batches):
        for name in NORMS:
            norm = network.get_submodule(name)
            torch.testing.assert_close(norm.running_mean, expected[name][0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(norm.running_var, expected[name][1], rtol=1e-4, atol=1e-5)
            assert int(norm.num_batches_tracked) == count


def test_soft_statistics_come_back(network):
    before = norm_state(network)
    with recalibrated(network, random_batches()):
        assert any(
            not torch.equal(before[name], value) for name, value in norm_state(network).items()
        )
    assert all(torch.equal(before[name], value) for name, value in norm_state(network).items())


def failing_batches():
    yield random_batches()[0]
    raise ZeroDivisionError


@pytest.mark.parametrize("place", ["body", "batches", "network"])
def test_everything_comes_back_after_a_fault(network, place):
    before = norm_state(network)
    batches = failing_batches() if place == "batches" else random_batches()
    if place == "network":

        def fail(*_):
            raise ZeroDivisionError

        network.fc.register_forward_hook(fail)
    with pytest.raises(ZeroDivisionError), recalibrated(network, batches):
        raise ZeroDivisionError
    assert all(torch.equal(before[name], value) for name, value in norm_state(network).items())
    assert [network.get_submodule(name).momentum for name in NORMS] == [0.1, 0.3]
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("training", [True, False])
def test_momentum_and_mode_are_as_before_while_the_statistics_hold(network, training):
    network.train(training)
    with recalibrated(network, random_batches()):
        assert [network.get_submodule(name).momentum for name in NORMS] == [0.1, 0.3]
        assert all(module.training is training for module in network.modules())


def test_weights_are_quantized_once_for_all_batches(network):
    calls = []
    network.conv2.parametrizations.weight[0].register_forward_hook(lambda *_: calls.append(1))
    with recalibrated(network, random_batches()):
        assert len(calls) == 1


def test_other_buffers_and_the_graph_are_left_alone(network):
    latent = network.conv1.parametrizations.weight.original
    before = latent.detach().clone()
    with recalibrated(network, random_batches()):
        pass
    assert torch.equal(latent, before)
    network(random_batches()[0]).sum().backward()
    assert latent.grad is not None


def test_networks_without_norms_and_norms_without_statistics_pass():
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2, track_running_stats=False))
    with recalibrated(network, random_batches()):
        assert network[1].running_mean is None
    with recalibrated(network[0], random_batches()):
        assert network[0].training


def test_sharing_in_one_process_changes_nothing(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    share_buffers(network)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
