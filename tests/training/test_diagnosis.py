"""The layer that a loss which is not finite came from."""

import pytest
import torch

from qcli.training.diagnosis import find_first_non_finite

IMAGES = torch.full((2, 3, 6, 6), 0.5)
LSQ = {"weight": {"quantizer": "lsq"}, "input": {"quantizer": "lsq", "initial_step": 1.0}}


@pytest.fixture(params=[False, True], ids=["float", "quantized"])
def network(request, make_network, quantize_by):
    torch.manual_seed(0)
    network = make_network()
    return quantize_by(network, (3, 6, 6), LSQ) if request.param else network


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_images_come_first(network, value):
    network.fc.bias.data[0] = value
    images = IMAGES.clone()
    images[1, 2, 3, 4] = value
    assert find_first_non_finite(network, images) == "the images themselves are not finite"


@pytest.mark.parametrize(
    ("broken", "count"), [(["fc.bias"], 1), (["conv2.bias"], 1), (["conv1.bias", "fc.bias"], 2)]
)
def test_parameters_are_named_in_their_order(network, broken, count):
    for name in broken:
        network.get_parameter(name).data[0] = float("nan")
    text = f"the parameter {broken[0]} is not finite ({count} parameters are not)"
    assert find_first_non_finite(network, IMAGES) == text


def test_a_latent_is_named_by_its_layer(make_network, quantize_by):
    network = quantize_by(make_network(), (3, 6, 6), LSQ)
    network.conv2.parametrizations.weight.original.data[0] = float("nan")
    assert "the parameter conv2." in find_first_non_finite(network, IMAGES)


@pytest.mark.parametrize("name", ["conv1", "conv2", "fc"])
def test_the_layer_whose_output_overflows_is_named(network, name):
    def overflow(module, args, output):
        return output.exp() / 0

    network.get_submodule(name).register_forward_hook(overflow)
    text = f"the output of {name} is the first that is not finite"
    assert find_first_non_finite(network, IMAGES) == text


def test_a_part_inside_a_block_is_named_before_the_block():
    block = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(3, 3))
    network = torch.nn.Sequential(torch.nn.Identity(), block)
    block[1].weight.data.fill_(3e38)
    text = "the output of 1.1 is the first that is not finite"
    assert find_first_non_finite(network, torch.ones(2, 3)) == text


def test_a_finite_network_is_cleared(network):
    text = "every layer is finite, the loss alone is not"
    assert find_first_non_finite(network, IMAGES) == text


def test_nothing_stays_hooked(network):
    def hooks():
        return sum(len(module._forward_hooks) for module in network.modules())

    before = hooks()
    find_first_non_finite(network, IMAGES)
    with pytest.raises(RuntimeError, match=r"channels|shape"):
        find_first_non_finite(network, IMAGES[:, :1])
    assert hooks() == before
