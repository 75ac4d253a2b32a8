"""What each parameter is, and how the optimizer treats it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from qcli.quantization.quantizer import ParameterDefaults
from qcli.quantization.surgery import latents, quantizers
from qcli.quantization.survey import quantizable_layers

ROLES = ("weight", "latent", "norm_bias", "quantizer")


@dataclass(frozen=True)
class RoledParameter:
    """A trainable parameter.

    Args:
        name: Dotted name in the network.
        parameter: Itself.
        role: weight, latent, norm_bias or quantizer.
        defaults: How it is trained where the recipe says nothing about its role.
    """

    name: str
    parameter: nn.Parameter
    role: str
    defaults: ParameterDefaults


def assign_roles(model: nn.Module) -> list[RoledParameter]:
    """Return every trainable parameter with its role; the roles partition them."""
    special: dict[int, tuple[str, ParameterDefaults]] = {}
    plain = ParameterDefaults()
    for _, layer in quantizable_layers(model):
        weight = getattr(layer, "_parameters", {}).get("weight")
        if weight is not None:
            special[id(weight)] = ("weight", plain)
    for quantizer, latent in latents(model).items():
        special[id(latent)] = ("latent", _default(quantizer.parameter_defaults, "latent"))
    for _, _, quantizer in quantizers(model):
        defaults = _default(quantizer.parameter_defaults, "quantizer")
        special |= {id(own): ("quantizer", defaults) for own in quantizer.parameters()}
    return [
        RoledParameter(name, parameter, *special.get(id(parameter), ("norm_bias", plain)))
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]


def _default(defaults: Mapping[str, ParameterDefaults], kind: str) -> ParameterDefaults:
    return defaults.get(kind, ParameterDefaults())
