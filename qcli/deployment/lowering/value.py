"""A real tensor on its way between two quantizers: integers, an affine, pending activations."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qcli.deployment.graph import Tensor
from qcli.deployment.lowering.dyadic import Reals


@dataclass(frozen=True)
class Activation:
    """A rising function, part by part: clip to [low, high], times a slope below 0.

    Args:
        low: The least value that comes out.
        high: The greatest.
        slope: Of negative values, of each channel or of all; above 0.
    """

    low: float = -np.inf
    high: float = np.inf
    slope: Reals | None = None

    def invert(self, boundaries: Reals) -> Reals:
        """Return what must come in for boundaries to be reached.

        Args:
            boundaries: [C, K - 1].
        """
        if self.slope is not None:
            below = boundaries / self.slope[:, None]
            return np.where(boundaries < 0, below, boundaries)
        always = np.where(boundaries <= self.low, -np.inf, boundaries)
        return np.where(boundaries > self.high, np.inf, always)


@dataclass(frozen=True)
class Value:
    """f(sum over j of factors[j, c] * I_j + offset[c]).

    Args:
        operands: The integer tensors I_j.
        factors: float64 [J, C].
        offset: float64 [C].
        activations: f, in the order in which they are applied.
    """

    operands: tuple[Tensor, ...]
    factors: Reals
    offset: Reals
    activations: tuple[Activation, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image."""
        return self.operands[0].shape

    @property
    def magnitudes(self) -> Reals:
        """The greatest |I_j|: [J]."""
        bounds = [max(abs(each.low), abs(each.high)) for each in self.operands]
        return np.array(bounds, np.float64)

    def activate(self, activation: Activation) -> Value:
        """Put an activation behind the others."""
        return replace(self, activations=(*self.activations, activation))

    def scale(self, factor: Reals, offset: Reals) -> Value:
        """Multiply by [C] or one number, and add."""
        return replace(self, factors=self.factors * factor, offset=self.offset * factor + offset)

    def invert(self, boundaries: Reals) -> Reals:
        """Return what the affine must reach for its activation to reach boundaries [C, K - 1]."""
        for activation in reversed(self.activations):
            boundaries = activation.invert(boundaries)
        return boundaries


def single(tensor: Tensor, step: float) -> Value:
    """Return integers times one step."""
    channels = tensor.shape[0]
    return Value((tensor,), np.full((1, channels), step), np.zeros(channels))


def add_values(left: Value, right: Value) -> Value:
    """Return the sum of two values without pending activations; the same tensor counts once."""
    operands = list(left.operands)
    factors = list(left.factors)
    for tensor, row in zip(right.operands, right.factors, strict=True):
        names = [each.name for each in operands]
        if tensor.name in names:
            factors[names.index(tensor.name)] = factors[names.index(tensor.name)] + row
        else:
            operands.append(tensor)
            factors.append(row)
    return Value(tuple(operands), np.stack(factors), left.offset + right.offset)
