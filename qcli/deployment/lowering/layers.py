"""Layers with a weight, as sums of products of integers."""

from __future__ import annotations

import numpy as np
from torch import nn
from torch.nn.utils import parametrize

from qcli.deployment.graph import Tensor
from qcli.deployment.lowering.builder import Builder, Fault
from qcli.deployment.lowering.convolutions import ConvolutionLayer, TransposedLayer
from qcli.deployment.lowering.products import Layer, LinearLayer
from qcli.deployment.lowering.value import Value

_KINDS: dict[type[nn.Module], type[Layer]] = {
    nn.Linear: LinearLayer,
    nn.Conv1d: ConvolutionLayer,
    nn.Conv2d: ConvolutionLayer,
    nn.ConvTranspose1d: TransposedLayer,
    nn.ConvTranspose2d: TransposedLayer,
}
LAYERS = tuple(_KINDS)


def lower_layer(builder: Builder, name: str, module: nn.Module, value: Value) -> Value:
    """Multiply: one operand for each plane of the weight and each operand of the input."""
    if not parametrize.is_parametrized(module, "weight"):
        raise Fault(f"layer {name}: its weight is float; give it a weight quantizer")
    layer = _KINDS[type_of(module)](name, module)
    _require_integers(value, layer)
    operands: list[Tensor] = []
    factors = []
    planes = layer.planes()
    for operand, row in zip(value.operands, value.factors, strict=True):
        step = layer.spread(row)
        for number, plane in enumerate(planes):
            parts = len(planes) * len(value.operands)
            label = name if parts == 1 else f"{name}.{len(operands)}"
            operands.append(layer.multiply(builder, label, operand, plane, number))
            factors.append(plane.steps * step)
    offset = layer.offset(value, planes)
    return Value(tuple(operands), np.stack(factors), offset)


def type_of(module: nn.Module) -> type:
    """Return the class of a layer, also of one whose class torch made for a parametrization."""
    return next(kind for kind in LAYERS if isinstance(module, kind))


def _require_integers(value: Value, layer: Layer) -> None:
    name = layer.name
    if value.activations:
        raise Fault(
            f"layer {name}: its input is not quantized; quantize the input, "
            "or the output of the activation before it"
        )
    if layer.has_border and value.offset.any():
        raise Fault(
            f"layer {name}: its input has an offset and its border is 0, which is no integer; "
            "quantize the input"
        )
