"""Layers with a weight, as sums of products of integers; norms, as a change of the affine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from qcli.deployment.graph import Convolution, Integers, Linear, Pads, Reshape, Spread
from qcli.deployment.graph import Tensor as Integral
from qcli.deployment.lowering.builder import Builder, Fault
from qcli.deployment.lowering.dyadic import Reals
from qcli.deployment.lowering.value import Value
from qcli.quantization.quantizer import Quantizer

LAYERS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True)
class Plane:
    """A part of a weight: step[o] * integers[o, ...].

    Args:
        steps: [O].
        integers: [O, I, KH, KW] or [O, I].
    """

    steps: Reals
    integers: Integers


def lower_layer(builder: Builder, name: str, module: nn.Module, value: Value) -> Value:
    """Multiply: one operand for each plane of the weight and each operand of the input."""
    if not parametrize.is_parametrized(module, "weight"):
        raise Fault(f"layer {name}: its weight is float; give it a weight quantizer")
    layer = _PLAIN[type_of(module)](name, module)
    _require_integers(value, layer)
    operands: list[Integral] = []
    factors = []
    planes = list(layer.planes())
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


def _require_integers(value: Value, layer: _Layer) -> None:
    name = layer.name
    if value.activations:
        raise Fault(
            f"layer {name}: its input is not quantized; quantize the input, "
            "or the output of the activation before it"
        )
    if value.offset.any() and layer.has_border:
        raise Fault(
            f"layer {name}: its input has an offset and its border is 0, which is no integer; "
            "quantize the input"
        )


def _numbers(tensor: Tensor | None) -> Reals:
    assert tensor is not None
    return tensor.detach().cpu().double().numpy()


class _Layer:
    """A layer with a weight [O, I / groups, ...]."""

    def __init__(self, name: str, module: Any) -> None:
        self.name = name
        self.module = module
        self.groups: int = getattr(module, "groups", 1)

    @property
    def has_border(self) -> bool:
        return False

    def planes(self) -> list[Plane]:
        """Return the weight as a sum of integer planes."""
        parametrization: Any = self.module.parametrizations.weight
        quantizer: Quantizer = parametrization[0]
        planes = quantizer.planes()
        if planes is None or not quantizer.quantizes:
            bits = f"{quantizer.bits} bits" if quantizer.quantizes else "no quantization"
            raise Fault(
                f"layer {self.name}: its weight ({type(quantizer).__name__}, {bits}) has values on "
                "no grid and too many for planes; take fewer bits or values on a grid"
            )
        with torch.no_grad():
            codes = quantizer.codes(parametrization.original)
        axis = quantizer.info.channel_axis
        rows = codes.long().movedim(axis, 0).cpu().numpy()
        steps = planes.steps.cpu().double().numpy()
        table = planes.integers.cpu().long().numpy()
        found = []
        for number in range(steps.shape[-1]):
            step = np.broadcast_to(steps[..., number], (len(rows),)).astype(np.float64)
            if table.ndim == 2:
                integers = table[:, number][rows]
            else:
                integers = np.stack(
                    [part[:, number][row] for part, row in zip(table, rows, strict=True)]
                )
            found.append(Plane(step, self.arrange(np.moveaxis(integers, 0, axis))))
        return [Plane(self.repeat(each.steps), each.integers) for each in found]

    def arrange(self, weight: Integers) -> Integers:
        """Return a weight as [O, I / groups, ...]."""
        return weight

    def repeat(self, steps: Reals) -> Reals:
        """Return the steps of all output channels."""
        return steps

    def spread(self, factors: Reals) -> Reals:
        """Return the factor of what each output channel sums, or fail where they differ."""
        parts = factors.reshape(self.groups, -1)
        if (parts != parts[:, :1]).any():
            raise Fault(
                f"layer {self.name}: the channels of its input have different scales; "
                "quantize the input"
            )
        channels: int = self.out_channels
        return np.repeat(parts[:, 0], channels // self.groups)

    @property
    def out_channels(self) -> int:
        return int(self.module.out_channels)

    def offset(self, value: Value, planes: list[Plane]) -> Reals:
        """Return the bias, and what the input's offset adds."""
        bias = self.module.bias
        total = np.zeros(self.out_channels) if bias is None else _numbers(bias)
        if value.offset.any():
            total = total + sum(plane.steps * self.gather(plane, value.offset) for plane in planes)
        return total

    def gather(self, plane: Plane, offset: Reals) -> Reals:
        """Return the sum of weight times offset for each output channel."""
        sums = plane.integers.reshape(*plane.integers.shape[:2], -1).sum(-1)
        share = len(sums) // self.groups
        parts = offset.reshape(self.groups, -1)
        products: Reals = (sums * np.repeat(parts, share, 0)).sum(1)
        return products

    def bounds(self, plane: Plane, operand: Integral) -> tuple[int, int]:
        """Return the range of the sums."""
        flat = plane.integers.reshape(len(plane.integers), -1)
        positive, negative = np.maximum(flat, 0).sum(1), np.minimum(flat, 0).sum(1)
        least, most = min(operand.low, 0), max(operand.high, 0)
        low = (positive * least + negative * most).min()
        return int(low), int((positive * most + negative * least).max())

    def multiply(
        self, builder: Builder, label: str, operand: Integral, plane: Plane, number: int
    ) -> Integral:
        raise NotImplementedError


class _Linear(_Layer):
    @property
    def out_channels(self) -> int:
        return int(self.module.out_features)

    def multiply(
        self, builder: Builder, label: str, operand: Integral, plane: Plane, number: int
    ) -> Integral:
        if len(operand.shape) != 1:
            raise Fault(
                f"layer {self.name}: a linear layer over {len(operand.shape)} axes; flatten first"
            )
        fields = {"weight": plane.integers, "layer": self.name, "plane": number}
        bounds = self.bounds(plane, operand)
        return builder.add(Linear, label, (operand,), (self.out_channels,), bounds=bounds, **fields)


class _Convolution(_Layer):
    @property
    def pads(self) -> list[tuple[int, int]]:
        if isinstance(self.module.padding, str):
            flat = self.module._reversed_padding_repeated_twice
            return [(flat[2 * i], flat[2 * i + 1]) for i in reversed(range(len(flat) // 2))]
        return [(pad, pad) for pad in self.module.padding]

    @property
    def has_border(self) -> bool:
        if self.module.padding_mode != "zeros":
            raise Fault(
                f"layer {self.name}: padding_mode {self.module.padding_mode}; allowed: zeros"
            )
        return any(pad for pads in self.pads for pad in pads)

    def multiply(
        self, builder: Builder, label: str, operand: Integral, plane: Plane, number: int
    ) -> Integral:
        flat = len(operand.shape) == 2
        stride, pads, dilation = self._geometry()
        weight = plane.integers
        if flat:
            operand = builder.add(
                Reshape, f"{label}.image", (operand,), (operand.shape[0], 1, operand.shape[1])
            )
            weight = weight[:, :, None, :]
            stride, pads, dilation = (1, *stride), ((0, 0), *pads), (1, *dilation)
        operand = self._prepare(builder, label, operand, stride)
        step = (1, 1) if self._is_transposed else stride
        extent = [
            (size + sum(pad) - (k - 1) * d - 1) // s + 1
            for size, pad, k, d, s in zip(
                operand.shape[1:], pads, weight.shape[2:], dilation, step, strict=True
            )
        ]
        result = builder.add(
            Convolution,
            label,
            (operand,),
            (len(weight), *extent),
            bounds=self.bounds(plane, operand),
            weight=weight,
            stride=step,
            pads=pads,
            dilation=dilation,
            groups=self.groups,
            layer=self.name,
            plane=number,
        )
        if flat:
            shape = (len(weight), extent[1])
            result = builder.add(Reshape, f"{label}.row", (result,), shape)
        return result

    _is_transposed = False

    def _geometry(self) -> tuple[Any, Any, Any]:
        return tuple(self.module.stride), tuple(self.pads), tuple(self.module.dilation)

    def _prepare(
        self, builder: Builder, label: str, operand: Integral, stride: tuple[int, int]
    ) -> Integral:
        return operand


class _Transposed(_Convolution):
    """A convolution over an input with zeros between its pixels, by the turned weight."""

    _is_transposed = True

    @property
    def has_border(self) -> bool:
        return True

    def _geometry(self) -> tuple[Any, Any, Any]:
        module = self.module
        pads = [
            (d * (k - 1) - pad, d * (k - 1) - pad + extra)
            for d, k, pad, extra in zip(
                module.dilation,
                module.kernel_size,
                module.padding,
                module.output_padding,
                strict=True,
            )
        ]
        return tuple(module.stride), tuple(pads), tuple(module.dilation)

    def _prepare(
        self, builder: Builder, label: str, operand: Integral, stride: tuple[int, int]
    ) -> Integral:
        if math.prod(stride) == 1:
            return operand
        channels, height, width = operand.shape
        shape = (channels, (height - 1) * stride[0] + 1, (width - 1) * stride[1] + 1)
        low, high = min(operand.low, 0), max(operand.high, 0)
        return builder.add(
            Spread, f"{label}.spread", (operand,), shape, stride=stride, bounds=(low, high)
        )

    def arrange(self, weight: Integers) -> Integers:
        inputs, share, *kernel = weight.shape
        parts = weight.reshape(self.groups, inputs // self.groups, share, *kernel)
        turned = parts.swapaxes(1, 2).reshape(self.groups * share, inputs // self.groups, *kernel)
        return np.ascontiguousarray(np.flip(turned, tuple(range(2, turned.ndim))))

    def repeat(self, steps: Reals) -> Reals:
        return np.tile(steps, self.groups)


_PLAIN: dict[type, type[_Layer]] = {
    nn.Linear: _Linear,
    nn.Conv1d: _Convolution,
    nn.Conv2d: _Convolution,
    nn.ConvTranspose1d: _Transposed,
    nn.ConvTranspose2d: _Transposed,
}


def lower_norm(name: str, module: Any, value: Value) -> Value:
    """Fold a batch norm into the affine, whatever the sign of gamma.

    The running statistics are those of eval mode: y = gamma (x - mean) / sqrt(var + eps) + beta.
    """
    if value.activations:
        raise Fault(
            f"norm {name}: it follows an activation that is not quantized; "
            "quantize the activation's output"
        )
    if module.running_mean is None:
        raise Fault(f"norm {name}: it keeps no running statistics")
    mean, variance = _numbers(module.running_mean), _numbers(module.running_var)
    factor = 1 / np.sqrt(variance + module.eps)
    beta = np.zeros_like(mean)
    if module.affine:
        factor, beta = factor * _numbers(module.weight), _numbers(module.bias)
    return value.scale(factor, beta - mean * factor)


def as_pads(pads: Any) -> Pads:
    """Return ((top, bottom), (left, right)) of one number for all, or one for each axis."""
    down, across = (pads, pads) if isinstance(pads, int) else pads
    return ((down, down), (across, across))
