"""How a tensor lies in memory: channels last, and what was an image before stays as it lay."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qcli.deployment.graph import Integers, Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Stored:
    """A tensor in memory.

    Args:
        tensor: Its logical shape, first axis channels, and its type.
        frame: The shape whose elements, in the same logical order, lie channels last. A flattened
            image keeps the frame of the image: [C * H * W] in the frame (C, H, W).
    """

    tensor: Tensor
    frame: Shape

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.tensor.shape)

    @property
    def size_bytes(self) -> int:
        """What it takes."""
        return self.count * np.dtype(self.tensor.dtype).itemsize

    @property
    def order(self) -> Integers:
        """The logical index of each element as they lie."""
        return order_of(self.frame)

    @property
    def is_natural(self) -> bool:
        """Whether it lies as its own shape says."""
        return lie_alike(self.frame, self.tensor.shape)


def order_of(frame: Shape) -> Integers:
    """Return the logical index of each element of a shape that lies channels last."""
    places = np.arange(math.prod(frame)).reshape(frame)
    return np.moveaxis(places, 0, -1).reshape(-1)


def lie_alike(one: Shape, other: Shape) -> bool:
    """Whether two frames of one tensor give the same memory."""
    return one == other or np.array_equal(order_of(one), order_of(other))
