"""Every trainable parameter has one role, and each role its defaults."""

from __future__ import annotations

import pytest
from torch import nn

import qcli
from qcli.quantization.quantizer import ParameterDefaults
from qcli.quantization.roles import ROLES, assign_roles
from qcli_uniform.lsq import LSQ as LearnedStep

IMAGE = (3, 6, 6)
LSQ = {"quantizer": "lsq", "bits": 4}
SCALED = {"quantizer": "categorical", "scale": "tensor"}


def make_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(), nn.Flatten(), nn.Linear(64, 5)
    )


@pytest.fixture
def quantize(catalog, make_recipe):
    """Return a function that quantizes a network by the recipe's arguments given."""

    def apply(network: nn.Module, **arguments) -> nn.Module:
        recipe = make_recipe(**arguments)
        return qcli.quantize(network, qcli.make_plan(network, recipe, IMAGE, catalog=catalog))

    return apply


def roles_of(network: nn.Module) -> dict[str, str]:
    return {each.name: each.role for each in assign_roles(network)}


def test_float_network_has_weights_norms_and_biases() -> None:
    assert roles_of(make_network()) == {
        "0.weight": "weight",
        "0.bias": "norm_bias",
        "1.weight": "norm_bias",
        "1.bias": "norm_bias",
        "2.weight": "norm_bias",
        "4.weight": "weight",
        "4.bias": "norm_bias",
    }


def test_quantized_network_has_latents_and_quantizers(quantize) -> None:
    network = quantize(
        make_network(), default={"weight": SCALED, "output": LSQ}, last_layer={"weight": None}
    )
    assert roles_of(network) == {
        "0.bias": "norm_bias",
        "0.parametrizations.weight.original": "latent",
        "0.parametrizations.weight.0.scale": "quantizer",
        "1.weight": "norm_bias",
        "1.bias": "norm_bias",
        "2.weight": "norm_bias",
        "2.output_quantizer.step_size": "quantizer",
        "4.weight": "weight",
        "4.bias": "norm_bias",
    }


@pytest.mark.parametrize("weight", [LSQ, SCALED, {"quantizer": "dorefa"}, None], ids=str)
@pytest.mark.parametrize("data", [LSQ, {"quantizer": "uniform"}], ids=str)
def test_roles_partition_the_parameters(quantize, weight, data) -> None:
    network = quantize(make_network(), default={"weight": weight, "input": data})
    roled = assign_roles(network)
    assert {each.role for each in roled} <= set(ROLES)
    assert [id(each.parameter) for each in roled] == [id(each) for each in network.parameters()]


def test_parameter_that_is_not_trained_has_no_role(quantize) -> None:
    network = quantize(make_network(), default={"weight": {**LSQ, "learned": False}})
    network[0].bias.requires_grad_(False)
    names = set(roles_of(network))
    assert "0.bias" not in names
    assert not any(name.endswith("step_size") for name in names)


def test_steps_do_not_decay_and_latents_train_as_weights(quantize) -> None:
    network = quantize(make_network(), default={"weight": LSQ})
    found = {each.role: each.defaults for each in assign_roles(network)}
    assert found["quantizer"] == ParameterDefaults(weight_decay=0.0, lr_factor=1.0)
    assert found["latent"] == found["norm_bias"] == ParameterDefaults()


def test_quantizer_says_how_its_parameters_train(quantize, monkeypatch) -> None:
    clip = ParameterDefaults(weight_decay=None, lr_factor=0.1)
    monkeypatch.setattr(LearnedStep, "parameter_defaults", {"quantizer": clip})
    network = quantize(make_network(), default={"weight": LSQ})
    found = {each.role: each.defaults for each in assign_roles(network)}
    assert found["quantizer"] == clip
    assert found["latent"] == ParameterDefaults()


def test_layer_without_a_bias_has_one_parameter() -> None:
    assert roles_of(nn.Sequential(nn.Linear(2, 2, bias=False))) == {"0.weight": "weight"}
