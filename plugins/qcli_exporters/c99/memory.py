"""Where each tensor lies in one static buffer: two that live at the same time never overlap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ALIGNMENT = 8


@dataclass(frozen=True)
class Buffer:
    """A need for memory.

    Args:
        name: Of the tensor.
        size_bytes: At least 1.
        first: Number of the step that writes it.
        last: Number of the last step that reads it.
    """

    name: str
    size_bytes: int
    first: int
    last: int

    @property
    def aligned_bytes(self) -> int:
        """The size, rounded up so that what follows is aligned."""
        return -(-self.size_bytes // ALIGNMENT) * ALIGNMENT

    def meets(self, other: Buffer) -> bool:
        """Whether both live during some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class MemoryPlan:
    """Places in the static buffer.

    Args:
        offsets: Byte offset of each buffer, a multiple of 8.
        size_bytes: Of the static buffer.
    """

    offsets: Mapping[str, int]
    size_bytes: int


def plan_memory(buffers: Iterable[Buffer]) -> MemoryPlan:
    """Place the largest first, each at the lowest offset that is free while it lives.

    Source: greedy by size, Pisarchyk and Lee, 2020, arXiv:2001.03288.
    """
    placed: list[tuple[Buffer, int]] = []
    for buffer in sorted(buffers, key=lambda each: (-each.size_bytes, each.first, each.name)):
        placed.append((buffer, _lowest_free(buffer, placed)))
    offsets = {buffer.name: offset for buffer, offset in placed}
    size = max((offset + buffer.aligned_bytes for buffer, offset in placed), default=0)
    return MemoryPlan(offsets, max(size, ALIGNMENT))


def _lowest_free(buffer: Buffer, placed: list[tuple[Buffer, int]]) -> int:
    offset = 0
    for other, start in sorted(placed, key=lambda each: each[1]):
        if buffer.meets(other) and start < offset + buffer.aligned_bytes:
            offset = max(offset, start + other.aligned_bytes)
    return offset
