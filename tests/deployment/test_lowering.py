"""Every kind of module, lowered and compared with float64."""

import pytest
import torch
from lowered_networks import (
    IMAGE_BITS,
    INPUTS,
    OUTPUTS,
    SHAPE,
    chain,
    check,
    lsq,
    make_recipe,
)
from torch import nn

from qcli.deployment.graph import MaxPool, Signs

conv, norm = nn.Conv2d, nn.BatchNorm2d

LAYERS = {
    "convolution": [conv(2, 4, 3)],
    "no bias": [conv(2, 4, 3, bias=False)],
    "border": [conv(2, 4, (3, 2), padding=(2, 1))],
    "strided": [conv(2, 4, 3, stride=(2, 3), padding=1)],
    "dilated": [conv(2, 4, 3, dilation=(2, 1), padding=(2, 0))],
    "grouped": [conv(2, 6, 3, groups=2)],
    "depthwise": [conv(2, 2, 3, groups=2, padding=1)],
    "same": [conv(2, 4, (3, 5), padding="same", dilation=(1, 2))],
    "valid": [conv(2, 4, 3, padding="valid")],
    "pointwise": [conv(2, 5, 1)],
    "unpadded reflection": [conv(2, 4, 3, padding_mode="reflect")],
    "transposed": [nn.ConvTranspose2d(2, 4, 3)],
    "transposed stride": [nn.ConvTranspose2d(2, 4, 3, (2, 3), 1, output_padding=(1, 2))],
    "transposed groups": [nn.ConvTranspose2d(2, 6, (3, 2), 2, groups=2, bias=False)],
    "transposed dilation": [nn.ConvTranspose2d(2, 3, 2, 2, padding=(3, 0), dilation=(3, 1))],
    "linear": [nn.Flatten(), nn.Linear(128, 5)],
    "row": [nn.Flatten(2), nn.Conv1d(2, 4, 3, stride=2, padding=2, dilation=2)],
    "row grouped": [nn.Flatten(2), nn.Conv1d(2, 4, 4, groups=2)],
    "row transposed": [nn.Flatten(2), nn.ConvTranspose1d(2, 4, 3, stride=2, output_padding=1)],
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    layer = LAYERS[name]
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: norm}
    result = nn.Sequential(*layer).eval()(torch.zeros(2, *SHAPE))
    normed = chain(*layer, kinds[result.dim()](result.shape[1]))
    weights = {"weight": lsq(3, granularity="channel")}
    default = {**weights, "input": lsq(4)}
    check(normed, make_recipe(default, first_layer={"input": IMAGE_BITS}))


def test_an_even_window_with_same_padding():
    with pytest.warns(UserWarning, match="padding='same'"):
        check(chain(conv(2, 4, 4, padding="same")), INPUTS)


MAX_POOLS = {
    "plain": nn.MaxPool2d(2),
    "border": nn.MaxPool2d(3, 2, 1),
    "ceil border": nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "ceil": nn.MaxPool2d(2, 3, ceil_mode=True),
    "dilated": nn.MaxPool2d((3, 2), (1, 2), (1, 0), dilation=2),
    "adaptive": nn.AdaptiveMaxPool2d(2),
}


@pytest.mark.parametrize("name", MAX_POOLS)
def test_max_pools_before_a_norm_need_no_signs(name):
    lowered = check(chain(conv(2, 4, 3), MAX_POOLS[name], norm(4)), INPUTS)
    kinds = [type(node) for node in lowered.graph.nodes]
    assert MaxPool in kinds
    assert Signs not in kinds


@pytest.mark.parametrize("name", MAX_POOLS)
def test_max_pools_behind_a_norm_turn_negative_factors(name):
    lowered = check(chain(conv(2, 4, 3), norm(4), MAX_POOLS[name]), INPUTS)
    (signs,) = (node.signs for node in lowered.graph.nodes if isinstance(node, Signs))
    gamma = lowered.model[1].weight
    assert signs.tolist() == torch.where(gamma < 0, -1, 1).tolist()
    assert -1 in signs


@pytest.mark.parametrize("name", MAX_POOLS)
@pytest.mark.parametrize("recipe", [INPUTS, OUTPUTS], ids=["pending", "quantized"])
def test_max_pools_behind_an_activation(name, recipe):
    check(chain(conv(2, 4, 3), norm(4), nn.ReLU(), MAX_POOLS[name], conv(4, 3, 1)), recipe)


def test_max_pool_of_a_row():
    pool = nn.MaxPool1d(3, 2, 1, ceil_mode=True)
    check(chain(nn.Flatten(2), nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), pool), INPUTS)


AVERAGES = {
    "plain": nn.AvgPool2d((2, 3)),
    "overlapping": nn.AvgPool2d(3, 1),
    "adaptive": nn.AdaptiveAvgPool2d((2, 1)),
    "global": nn.AdaptiveAvgPool2d(1),
}


@pytest.mark.parametrize("name", AVERAGES)
def test_averages(name):
    average = AVERAGES[name]
    check(chain(conv(2, 4, 3), norm(4), average), INPUTS)
    check(chain(conv(2, 4, 3), average, norm(4)), INPUTS)
    check(chain(conv(2, 4, 3), norm(4), nn.ReLU(), average, conv(4, 3, 1)), OUTPUTS)


def test_an_average_over_a_border():
    average = nn.AvgPool2d(3, 2, 1)
    check(chain(conv(2, 4, 3), norm(4), nn.ReLU(), average, conv(4, 3, 2)), OUTPUTS)


ACTIVATIONS = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardtanh": lambda: nn.Hardtanh(-0.5, 0.25),
    "positive hardtanh": lambda: nn.Hardtanh(0.1, 0.3),
    "leaky": lambda: nn.LeakyReLU(0.1),
    "steep leaky": lambda: nn.LeakyReLU(2.0),
    "prelu": nn.PReLU,
    "prelu of each channel": lambda: slopes(nn.PReLU(4)),
    "leaky and cut": lambda: nn.Sequential(nn.LeakyReLU(0.5), nn.Hardtanh(-0.1, 0.3)),
    "cut and leaky": lambda: nn.Sequential(nn.Hardtanh(-0.4, 0.3), nn.LeakyReLU(0.5)),
    "identity": nn.Identity,
    "dropout": lambda: nn.Dropout(0.5),
    "dropout of channels": nn.Dropout2d,
}


def slopes(module):
    module.weight.data = torch.tensor([0.1, 2.0, 0.5, 0.01])
    return module


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("bits", [1, 4])
def test_activations_inside_the_quantizer(name, bits):
    recipe = make_recipe({"weight": lsq(3), "input": lsq(bits, signed=bits > 1)})
    recipe["first_layer"] = {"input": IMAGE_BITS}
    activation = ACTIVATIONS[name]
    if bits == 1 and name not in ("relu", "relu6", "positive hardtanh"):
        recipe["default"]["input"] = {"quantizer": "qnn", "bits": 1}
    check(chain(conv(2, 4, 3), norm(4), activation(), nn.MaxPool2d(2)), recipe)
    if bits > 1:
        check(chain(conv(2, 4, 3), norm(4), activation(), conv(4, 4, 3, padding=1)), recipe)


MOVES = {
    "zero pad": nn.ZeroPad2d((1, 2, 0, 3)),
    "constant pad": nn.ConstantPad2d((0, 1, 2, 0), 0.0),
    "upsample": nn.Upsample(scale_factor=(2, 3)),
    "upsample to": nn.Upsample((12, 6)),
    "unflatten": nn.Unflatten(1, (2, 2)),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves(name):
    check(chain(conv(2, 4, 3), norm(4), nn.ReLU(), MOVES[name], nn.Flatten(2)), OUTPUTS)


def test_upsample_and_reshape_keep_the_affine_of_channels():
    check(chain(conv(2, 4, 3), norm(4), nn.Upsample(scale_factor=2), conv(4, 3, 3)), INPUTS)
    check(chain(conv(2, 4, 3), norm(4), nn.Unflatten(1, (4, 1)), nn.Flatten()), INPUTS)
