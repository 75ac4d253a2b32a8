"""Quantizers of every method, lowered and compared with float64."""

import numpy as np
import pytest
import torch
from lowered_networks import (
    IMAGE_BITS,
    INPUTS,
    PIXELS,
    SHAPE,
    Lowered,
    chain,
    check,
    compare,
    lower_network,
    lsq,
    make_recipe,
    prepare,
    scramble_norms,
)
from torch import nn

import qcli
from qcli.deployment.graph import Convolution, Linear, MaxPool, Quantize
from qcli.deployment.lowering.walk import lower
from qcli.quantization.surgery import quantizers

conv, norm = nn.Conv2d, nn.BatchNorm2d


def network_of_three():
    body = (conv(2, 6, 3, padding=1), norm(6), nn.ReLU(), conv(6, 6, 3, 2, 1, groups=2), norm(6))
    return scramble_norms(chain(*body, nn.ReLU()))


WEIGHTS = [
    *(lsq(bits) for bits in (1, 2, 8)),
    lsq(4, granularity="channel"),
    {"quantizer": "uniform", "bits": 3, "granularity": "channel"},
    {"quantizer": "uniform", "bits": 8},
    {"quantizer": "ttq"},
    {"quantizer": "twn"},
    {"quantizer": "lq_nets", "bits": 3},
    {"quantizer": "quantization_networks", "bits": 2},
    *({"quantizer": "dorefa", "bits": bits} for bits in (1, 3, 8)),
    *({"quantizer": "qnn", "bits": bits} for bits in (1, 3)),
    {"quantizer": "xnor"},
    {"quantizer": "sat", "bits": 2},
    {"quantizer": "wrpn", "bits": 4},
    {"quantizer": "categorical", "value_space": [-2, -1, -0.5, 0.5, 1, 2]},
    {"quantizer": "categorical", "value_space": {"linspace": [-1, 1, 4]}, "scale": "channel"},
    {"quantizer": "categorical", "value_space": [-1.7, -0.3, 0, 0.45, 3.1]},
]
INPUTS_OF_METHODS = [
    lsq(1, signed=False),
    lsq(2),
    lsq(8, signed=False),
    {"quantizer": "uniform", "bits": 4},
    {"quantizer": "uniform", "bits": 8, "symmetric": True},
    {"quantizer": "lq_nets", "bits": 2},
    {"quantizer": "lq_nets", "bits": 3},
    {"quantizer": "quantization_networks", "bits": 2},
    {"quantizer": "dorefa", "bits": 2},
    {"quantizer": "qnn", "bits": 3},
    {"quantizer": "sat", "bits": 4},
    {"quantizer": "pact", "bits": 4},
    {"quantizer": "cg_pact", "bits": 3},
    {"quantizer": "wrpn", "bits": 4},
]


def name_of(slot):
    return "-".join(str(part) for part in slot.values())


@pytest.mark.parametrize("weight", WEIGHTS, ids=name_of)
def test_weights_of_every_method(weight):
    check(network_of_three(), make_recipe({"weight": weight, "input": lsq(4)}))


@pytest.mark.parametrize("activation", INPUTS_OF_METHODS, ids=name_of)
def test_inputs_of_every_method(activation):
    default = {"weight": lsq(3), "input": activation}
    check(network_of_three(), make_recipe(default, first_layer={"input": IMAGE_BITS}))


@pytest.mark.parametrize(
    "method", [{"quantizer": "qnn", "bits": 1}, {"quantizer": "xnor"}], ids=name_of
)
def test_signs(method):
    """-1 and 1: 0, the border, is no code and counts as 0."""
    body = (conv(2, 4, 3), norm(4), nn.Hardtanh(), conv(4, 4, 3, padding=1), norm(4))
    default = {"weight": method, "input": method}
    lowered = check(chain(*body), make_recipe(default, first_layer={"input": IMAGE_BITS}))
    (signs,) = (node for node in lowered.graph.nodes if node.name == "3.input")
    assert isinstance(signs, Quantize)
    assert signs.levels.tolist() == [-1, 1]


@pytest.mark.parametrize("transposed", [False, True])
def test_weights_of_two_masks(transposed):
    """TTQ with two different values: a sum of products for each."""
    middle = nn.ConvTranspose2d(4, 4, 3, 2, groups=2) if transposed else conv(4, 4, 3, groups=2)
    recipe = make_recipe({"weight": {"quantizer": "ttq"}, "input": lsq(4)})
    model, plain, images = prepare(chain(conv(2, 4, 3), norm(4), middle), recipe, SHAPE)
    for number, (_, slot, quantizer) in enumerate(quantizers(model)):
        if slot == "weight":
            quantizer.positive_scale.data.fill_(0.31415926 + 0.1 * number)
            quantizer.negative_scale.data.fill_(0.71828182 + 0.1 * number)
    lowered = finish(model, plain, images)
    found = compare(lowered)
    assert (found.different, found.unexplained) == (0, [])
    planes = [(node.layer, node.plane) for node in lowered.graph.nodes if hasattr(node, "plane")]
    assert planes == [(layer, plane) for layer in ("0", "2", "4") for plane in (0, 1)]


def finish(model, plain, images):
    """Lower a network whose quantizers were changed by hand."""
    plain.load_state_dict(qcli.bake(model))
    return Lowered(model, plain, lower(model, SHAPE, PIXELS, {}), images)


@pytest.mark.parametrize("step", [1e-38, 1e-5, 100.0])
@pytest.mark.parametrize("slot", ["input", "weight"])
def test_tiny_and_huge_steps(step, slot):
    model, plain, images = prepare(network_of_three(), INPUTS, SHAPE)
    changed = dict((f"{a}.{b}", c) for a, b, c in quantizers(model))[f"3.{slot}"]
    changed.step_size.data.fill_(step)
    lowered = finish(model, plain, images)
    assert compare(lowered).unexplained == []


def test_scores_of_a_layer_whose_weights_are_all_0():
    model, plain, images = prepare(network_of_three(), INPUTS, SHAPE)
    last = model[7]
    last.parametrizations.weight.original.data.zero_()
    last.bias.data.copy_(torch.tensor([0.0, 1.5, -2.0]))
    lowered = finish(model, plain, images)
    scores = np.ldexp(lowered.run()["logits"].astype(float), -lowered.graph.logits.shift)
    np.testing.assert_array_equal(scores, np.tile([0.0, 1.5, -2.0], (len(images), 1)))


def test_ranges_hold_everywhere():
    """Every tensor stays inside the range that is proven, at images that reach far."""
    for recipe in (
        INPUTS,
        make_recipe({"weight": {"quantizer": "lq_nets", "bits": 2}, "input": lsq(3)}),
    ):
        lowered = lower_network(network_of_three(), recipe, SHAPE)
        lowered.images = np.stack([np.zeros(SHAPE, np.uint8), np.full(SHAPE, 255, np.uint8)])
        for name, values in lowered.run().items():
            tensor = lowered.graph.tensors[name]
            assert values.shape[1:] == tensor.shape
            assert tensor.low <= values.min() <= values.max() <= tensor.high


def test_weights_are_those_of_the_layer():
    lowered = lower_network(network_of_three(), INPUTS, SHAPE)
    for node in lowered.graph.nodes:
        if isinstance(node, Convolution | Linear):
            layer = lowered.model.get_submodule(node.layer)
            step = layer.parametrizations.weight[0].step_size.item()
            exact = node.weight * np.float32(step)
            np.testing.assert_array_equal(exact.astype(np.float32), layer.weight.detach().numpy())


def test_a_maximum_of_levels_on_no_grid():
    """Codes are pooled, also behind a norm of factors that are not negative."""
    network = scramble_norms(chain(conv(2, 4, 3), nn.ReLU(), norm(4), nn.MaxPool2d(3, 2, 1)))
    network[2].weight.data.abs_()
    rules = [{"match": "5", "input": lsq(4)}]
    default = {"weight": lsq(3), "output": {"quantizer": "lq_nets", "bits": 2}}
    recipe = make_recipe(default, rules, first_layer={"input": IMAGE_BITS})
    lowered = lower_network(network, recipe, SHAPE)
    found = compare(lowered)
    assert (found.different, found.unexplained) == (0, [])
    (pool,) = (node for node in lowered.graph.nodes if isinstance(node, MaxPool))
    assert pool.inputs == ("1.output",)


def test_levels_above_0_beside_a_border():
    """The border is 0, less than the least level: sums reach lower than of levels alone."""
    levels = {"quantizer": "quantization_networks", "value_space": [1, 2, 3]}
    network = chain(conv(2, 4, 3), norm(4), nn.ReLU(), conv(4, 2, 3, padding=2))
    nn.init.constant_(network[3].weight, 0.5)
    rules = [{"match": "5", "input": lsq(4)}]
    recipe = make_recipe({"weight": lsq(3), "output": levels}, rules)
    recipe["first_layer"] = {"input": IMAGE_BITS}
    lowered = lower_network(network, recipe, SHAPE)
    sums = lowered.run()["3"]
    tensor = lowered.graph.tensors["3"]
    assert 0 <= tensor.low <= sums.min() <= sums.max() <= tensor.high
    assert lowered.graph.tensors["2.output"].low > 0
    assert compare(lowered).unexplained == []
