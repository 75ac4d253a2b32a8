"""Convolutions, also of rows of numbers, and transposed ones as plain ones over spread pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from qcli.deployment.graph import Convolution, Integers, Reshape, Spread, Tensor
from qcli.deployment.lowering.builder import Builder, Fault
from qcli.deployment.lowering.dyadic import Reals
from qcli.deployment.lowering.products import Layer
from qcli.deployment.lowering.weights import Plane

Numbers = tuple[int, ...]


@dataclass(frozen=True)
class Geometry:
    """Of a convolution; each for every spatial axis.

    Args:
        stride: Distance of windows.
        pads: (before, after); negative ones crop.
        dilation: Distance of what a window sees.
    """

    stride: Numbers
    pads: tuple[tuple[int, int], ...]
    dilation: Numbers

    def extent(self, size: Numbers, kernel: Numbers) -> Numbers:
        """Return the size of the result."""
        settings = zip(size, self.pads, kernel, self.dilation, self.stride, strict=True)
        return tuple((n + sum(pad) - (k - 1) * d - 1) // s + 1 for n, pad, k, d, s in settings)

    def as_image(self) -> Geometry:
        """Return that of a row as that of an image of one line."""
        return Geometry((1, *self.stride), ((0, 0), *self.pads), (1, *self.dilation))


class ConvolutionLayer(Layer):
    """A convolution over one or two axes."""

    @property
    def has_border(self) -> bool:
        """Whether zeros around the input take part."""
        border = any(pad for pads in self.geometry().pads for pad in pads)
        if border and self.module.padding_mode != "zeros":
            raise Fault(
                f"layer {self.name}: padding_mode {self.module.padding_mode}; allowed: zeros"
            )
        return border

    def geometry(self) -> Geometry:
        """Return how windows lie on what `prepare` returns."""
        module = self.module
        pads = tuple((pad, pad) for pad in module.padding)
        if isinstance(module.padding, str):
            # torch keeps what "same" means, the last axis first.
            flat = module._reversed_padding_repeated_twice
            pads = tuple(zip(flat[::2], flat[1::2], strict=True))[::-1]
        return Geometry(tuple(module.stride), pads, tuple(module.dilation))

    def prepare(self, builder: Builder, label: str, operand: Tensor) -> Tensor:
        """Return the image that windows lie on."""
        return operand

    def multiply(
        self, builder: Builder, label: str, operand: Tensor, plane: Plane, number: int
    ) -> Tensor:
        """Convolve; a row of numbers is an image of one line meanwhile."""
        if len(operand.shape) == 3:
            return self._convolve(builder, label, operand, plane, number)
        channels, length = operand.shape
        line = builder.add(Reshape, f"{label}.image", (operand,), (channels, 1, length))
        flat = Plane(plane.steps, plane.integers[:, :, None, :])
        result = self._convolve(builder, label, line, flat, number)
        return builder.add(Reshape, f"{label}.row", (result,), (result.shape[0], result.shape[2]))

    def _convolve(
        self, builder: Builder, label: str, operand: Tensor, plane: Plane, number: int
    ) -> Tensor:
        geometry = self.geometry()
        if len(geometry.stride) == 1:
            geometry = geometry.as_image()
        operand = self.prepare(builder, label, operand)
        weight = plane.integers
        extent = geometry.extent(operand.shape[1:], weight.shape[2:])
        return builder.add(
            Convolution,
            label,
            (operand,),
            (len(weight), *extent),
            bounds=self.bounds(plane, operand),
            weight=weight,
            stride=geometry.stride,
            pads=geometry.pads,
            dilation=geometry.dilation,
            groups=self.groups,
            layer=self.name,
            plane=number,
        )


class TransposedLayer(ConvolutionLayer):
    """A convolution over an input with zeros between its pixels, by the turned weight."""

    @property
    def has_border(self) -> bool:
        """Zeros between pixels are a border, too."""
        return True

    def geometry(self) -> Geometry:
        """Return how windows lie on the spread pixels: one apart."""
        module = self.module
        settings: Any = (
            *(module.dilation, module.kernel_size, module.padding),
            module.output_padding,
        )
        pads = tuple(
            (d * (k - 1) - pad, d * (k - 1) - pad + extra)
            for d, k, pad, extra in zip(*settings, strict=True)
        )
        return Geometry((1,) * len(pads), pads, tuple(module.dilation))

    def prepare(self, builder: Builder, label: str, operand: Tensor) -> Tensor:
        """Put zeros between the pixels."""
        stride = tuple(self.module.stride)
        if math.prod(stride) == 1:
            return operand
        stride = (1,) * (2 - len(stride)) + stride
        size = ((n - 1) * s + 1 for n, s in zip(operand.shape[1:], stride, strict=True))
        bounds = (min(operand.low, 0), max(operand.high, 0))
        shape = (operand.shape[0], *size)
        return builder.add(
            Spread, f"{label}.spread", (operand,), shape, stride=stride, bounds=bounds
        )

    def arrange(self, weight: Integers) -> Integers:
        """Return [I, O / groups, ...] as [O, I / groups, ...], turned by half a circle."""
        inputs, share, *kernel = weight.shape
        parts = weight.reshape(self.groups, inputs // self.groups, share, *kernel)
        swapped = parts.swapaxes(1, 2).reshape(self.groups * share, inputs // self.groups, *kernel)
        return np.ascontiguousarray(np.flip(swapped, tuple(range(2, swapped.ndim))))

    def repeat(self, steps: Reals) -> Reals:
        """Return the steps of all output channels: each group has the same."""
        return np.tile(steps, self.groups)
