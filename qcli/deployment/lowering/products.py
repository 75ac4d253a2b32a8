"""What all layers with a weight share: integer sums of products, their range and their affine."""

from __future__ import annotations

from typing import Any

import numpy as np

from qcli.deployment.graph import Integers, Linear, Tensor
from qcli.deployment.lowering.builder import Builder, Fault
from qcli.deployment.lowering.dyadic import Reals, read_numbers
from qcli.deployment.lowering.value import Value
from qcli.deployment.lowering.weights import Plane, read_planes
from qcli.deployment.soundness import weigh


class Layer:
    """A layer with a weight [O, I / groups, ...]."""

    def __init__(self, name: str, module: Any) -> None:
        self.name = name
        self.module = module
        self.groups: int = getattr(module, "groups", 1)

    @property
    def has_border(self) -> bool:
        """Whether zeros around the input take part."""
        return False

    def planes(self) -> list[Plane]:
        """Return the weight as a sum of planes [O, I / groups, ...]."""
        return [
            Plane(self.repeat(each.steps), self.arrange(each.integers))
            for each in read_planes(self.name, self.module)
        ]

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
        """How many numbers each position of the result has."""
        return int(self.module.out_channels)

    def offset(self, value: Value, planes: list[Plane]) -> Reals:
        """Return the bias, and what the input's offset adds."""
        bias = self.module.bias
        total = np.zeros(self.out_channels) if bias is None else read_numbers(bias)
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

    def bounds(self, plane: Plane, operand: Tensor) -> tuple[int, int]:
        """Return the range of the sums."""
        return weigh(plane.integers, min(operand.low, 0), max(operand.high, 0))

    def multiply(
        self, builder: Builder, label: str, operand: Tensor, plane: Plane, number: int
    ) -> Tensor:
        """Add the node that multiplies one operand by one plane."""
        raise NotImplementedError


class LinearLayer(Layer):
    """A matrix product with a row of numbers."""

    @property
    def out_channels(self) -> int:
        """Output features."""
        return int(self.module.out_features)

    def multiply(
        self, builder: Builder, label: str, operand: Tensor, plane: Plane, number: int
    ) -> Tensor:
        """Add the matrix product."""
        if len(operand.shape) != 1:
            raise Fault(
                f"layer {self.name}: a linear layer over {len(operand.shape)} axes; flatten first"
            )
        fields = {"weight": plane.integers, "layer": self.name, "plane": number}
        bounds = self.bounds(plane, operand)
        return builder.add(Linear, label, (operand,), (self.out_channels,), bounds=bounds, **fields)
