"""A network as operations on integers: small frozen records, no torch.

A real tensor is `sum of A_j[c] * I_j + C[c]` over integer tensors I_j. The graph computes the I_j;
the affine numbers A and C meet them in `Quantize` alone, rounded once to dyadic integers. What a
tensor holds is a value, not a code: 0 always stands for the real 0, also where it is no code.

Shapes are those of one image: [C, H, W] or [C]. Channels are the first axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Pads = tuple[tuple[int, int], tuple[int, int]]

STORAGE = ("uint8", "int8", "int16", "int32", "int64")


@dataclass(frozen=True)
class Tensor:
    """An integer tensor.

    Args:
        name: Unique in the graph.
        shape: Of one image: [C, H, W] or [C].
        low: The least value that it can hold, proven.
        high: The greatest.
    """

    name: str
    shape: tuple[int, ...]
    low: int
    high: int

    @property
    def dtype(self) -> str:
        """The narrowest of `STORAGE` that holds the range."""
        for name in STORAGE:
            bounds = np.iinfo(name)
            if bounds.min <= self.low and self.high <= bounds.max:
                return name
        raise OverflowError(f"{self.name}: [{self.low}, {self.high}] exceeds 64 bits")


@dataclass(frozen=True)
class Node:
    """An operation.

    Args:
        inputs: Names of tensors.
        output: The tensor that it makes.
    """

    inputs: tuple[str, ...]
    output: Tensor

    @property
    def name(self) -> str:
        """That of the tensor that it makes; of a `Quantize`, the layer and the slot."""
        return self.output.name


@dataclass(frozen=True)
class Lookup(Node):
    """Replace each value x of channel c by table[c, x - low], low being the input's.

    Args:
        table: [C, high - low + 1], or [1, high - low + 1] for all channels.
    """

    table: Integers


@dataclass(frozen=True)
class Convolution(Node):
    """Two-dimensional cross-correlation of a [C, H, W]; the border is 0.

    Args:
        weight: [O, C / groups, KH, KW].
        stride: Down and across.
        pads: ((top, bottom), (left, right)); negative ones crop.
        dilation: Down and across.
        groups: As in torch.
        layer: Dotted name of the layer.
        plane: Number of this part of the layer's weight, where it has several.
    """

    weight: Integers
    stride: tuple[int, int] = (1, 1)
    pads: Pads = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    layer: str = ""
    plane: int = 0


@dataclass(frozen=True)
class Linear(Node):
    """Matrix product with a [C].

    Args:
        weight: [O, C].
        layer: Dotted name of the layer.
        plane: As in `Convolution`.
    """

    weight: Integers
    layer: str = ""
    plane: int = 0


@dataclass(frozen=True)
class Spread(Node):
    """Put stride - 1 zeros between neighbors, down and across: [C, (H-1)*s+1, (W-1)*s+1]."""

    stride: tuple[int, int]


@dataclass(frozen=True)
class Pad(Node):
    """Add zeros: ((front, back) of each axis of the sample, channels first)."""

    pads: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class MaxPool(Node):
    """The greatest of each window of a [C, H, W]; the border takes no part.

    Windows that begin inside and end outside count what is inside. A kernel of (1, 1) subsamples.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: Pads = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class SumPool(Node):
    """The sum of each window of a [C, H, W]; the border is 0. The divisor is left to A."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: Pads = ((0, 0), (0, 0))


@dataclass(frozen=True)
class Repeat(Node):
    """Nearest-neighbor enlargement of a [C, H, W] by whole factors."""

    factors: tuple[int, int]


@dataclass(frozen=True)
class Signs(Node):
    """Multiply each channel by 1 or -1.

    Args:
        signs: [C].
    """

    signs: Integers


@dataclass(frozen=True)
class Concat(Node):
    """Join along the channels."""


@dataclass(frozen=True)
class Reshape(Node):
    """Take the values in order in the output's shape."""


@dataclass(frozen=True)
class Transpose(Node):
    """Permute the axes of a sample.

    Args:
        axes: Where each axis of the output comes from.
    """

    axes: tuple[int, ...]


@dataclass(frozen=True)
class Quantize(Node):
    """Count the boundaries that a real value has reached, and look up the level of that code.

    With t[c] = sum over j of multipliers[j, c] * I_j[c] + bias[c], the value times 2^shift[c],
    code = #{k: t[c] >= boundaries[c, k]} and the result is levels[code]. |t| < 2^62 is proven.

    Args:
        multipliers: [J, C], below 2^31.
        bias: [C].
        shift: [C]; needed to read t as a real value and for nothing else.
        boundaries: [C, K - 1], ascending; of one that is never reached 2^62, always -2^62.
        levels: [K].
        step: The real value of level 1 where levels lie on a grid; None: they are codes.
    """

    multipliers: Integers
    bias: Integers
    shift: Integers
    boundaries: Integers
    levels: Integers
    step: float | None = None


@dataclass(frozen=True)
class Logits(Node):
    """The scores: t[c] as in `Quantize`, times one 2^shift for all classes, and no rounding.

    Args:
        multipliers: [J, C].
        bias: [C].
        shift: score = t / 2^shift.
    """

    multipliers: Integers
    bias: Integers
    shift: int


@dataclass(frozen=True)
class Graph:
    """A network.

    Args:
        image: The input, [C, H, W], pixels 0 to 255.
        nodes: In an order in which they can run; the last is `Logits`.
        facts: What else is known, JSON values: architecture, recipe, scaling.
    """

    image: Tensor
    nodes: tuple[Node, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name."""
        return {self.image.name: self.image, **{node.name: node.output for node in self.nodes}}

    @property
    def logits(self) -> Logits:
        """The last node."""
        last = self.nodes[-1]
        assert isinstance(last, Logits)
        return last

    @property
    def observed(self) -> tuple[str, ...]:
        """The tensors in which every form must agree: what quantizers make, and the logits."""
        return tuple(node.name for node in self.nodes if self._is_observed(node))

    def _is_observed(self, node: Node) -> bool:
        reads_pixels = isinstance(node, Lookup) and node.inputs == (self.image.name,)
        return reads_pixels or isinstance(node, Quantize | Logits)
