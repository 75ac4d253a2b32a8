"""Constant arrays of the generated source: what lies in flash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcli.deployment.graph import STORAGE, Integers

NUMBERS_PER_LINE = 24


@dataclass(frozen=True)
class Table:
    """A constant array.

    Args:
        name: In C.
        values: Of any shape, in C order, of one of the types of `STORAGE`.
    """

    name: str
    values: NDArray[np.integer]

    @property
    def size_bytes(self) -> int:
        """What it takes in flash."""
        return self.values.nbytes

    def declare(self) -> str:
        """Return its definition in C."""
        numbers = list(map(str, self.values.reshape(-1).tolist()))
        lines = (
            "    " + ", ".join(numbers[start : start + NUMBERS_PER_LINE])
            for start in range(0, len(numbers), NUMBERS_PER_LINE)
        )
        body = ",\n".join(lines)
        return f"static const {self.values.dtype}_t {self.name}[{len(numbers)}] = {{\n{body}\n}};\n"


@dataclass(frozen=True)
class Rows:
    """Numbers of each channel, those of equal channels once.

    Args:
        arrays: Each [R, ...], one row for each kind of channel.
        index: [C], which row a channel has; None: its own.
    """

    arrays: tuple[Integers, ...]
    index: Integers | None

    def name_row(self, index_name: str, channel: str) -> str:
        """Return the C expression of a channel's row."""
        if len(self.arrays[0]) == 1:
            return "0"
        return channel if self.index is None else f"{index_name}[{channel}]"

    def make_tables(self, names: Sequence[str], index_name: str) -> list[Table]:
        """Return the arrays, and the index where one is read, as tables."""
        tables = [
            Table(name, narrow(array)) for name, array in zip(names, self.arrays, strict=True)
        ]
        if self.index is not None and len(self.arrays[0]) > 1:
            tables.append(Table(index_name, narrow(self.index)))
        return tables


def share_rows(arrays: Sequence[Integers]) -> Rows:
    """Keep equal rows once where that saves memory.

    Args:
        arrays: Each [C, ...]; a row of all of them together is what can be equal.
    """
    rows = np.concatenate([array.reshape(len(array), -1) for array in arrays], 1)
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    shared = tuple(array[first] for array in arrays)
    index = inverse.reshape(-1).astype(np.int64)
    row_bytes = sum(narrow(array).nbytes for array in arrays) // len(rows)
    saved_bytes = (len(rows) - len(first)) * row_bytes
    if len(first) > 1 and saved_bytes <= narrow(index).nbytes:
        return Rows(tuple(arrays), None)
    return Rows(shared, index)


def narrow(values: Integers) -> NDArray[np.integer]:
    """Return the numbers in the narrowest type of `STORAGE` that holds them."""
    low, high = int(values.min()), int(values.max())
    fits = (each for each in STORAGE if np.iinfo(each).min <= low and high <= np.iinfo(each).max)
    return np.ascontiguousarray(values.astype(next(fits)))
