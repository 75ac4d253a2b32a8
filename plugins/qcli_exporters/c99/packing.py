"""Weights at their bit-width: what one filter needs lies together and is unpacked at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcli.deployment.graph import Integers
from qcli_exporters.c99.table import narrow

# A code never crosses a byte: 3-bit weights take 4 bits, 5 to 7 bits take 8.
WIDTHS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Filters:
    """The weights of a layer.

    Args:
        rows: [O, bytes of a filter] codes, the first in the lowest bits; or [O, N] integers where
            they are not packed.
        values: What each code stands for, [2^bits]; None: not packed.
        bits: Of a code, or of an integer.
    """

    rows: NDArray[np.integer]
    values: NDArray[np.integer] | None
    bits: int

    @property
    def dtype(self) -> str:
        """Of the numbers that are multiplied."""
        return str(self.rows.dtype if self.values is None else self.values.dtype)

    @property
    def unpacked_bytes(self) -> int:
        """Memory for one unpacked filter, what fills its last byte included; 0: none is needed."""
        if self.values is None:
            return 0
        return int(self.rows.shape[1]) * (8 // self.bits) * self.values.itemsize


def pack_filters(weight: Integers) -> Filters:
    """Pack filters into codes where that is smaller, the table of values included.

    Args:
        weight: [O, N].
    """
    whole = narrow(weight)
    plain = Filters(whole, None, whole.itemsize * 8)
    levels, codes = np.unique(weight, return_inverse=True)
    width = max(1, (len(levels) - 1).bit_length())
    bits = next((each for each in WIDTHS if each >= width), None)
    if bits is None:
        return plain
    values = narrow(np.pad(levels, (0, (1 << bits) - len(levels))))
    rows = _pack_rows(codes.reshape(weight.shape), bits)
    if rows.nbytes + values.nbytes >= whole.nbytes:
        return plain
    return Filters(rows, values, bits)


def _pack_rows(codes: Integers, bits: int) -> NDArray[np.uint8]:
    per_byte = 8 // bits
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % per_byte)))
    places = padded.reshape(len(codes), -1, per_byte) << (np.arange(per_byte) * bits)
    packed: NDArray[np.uint8] = places.sum(2).astype(np.uint8)
    return packed
