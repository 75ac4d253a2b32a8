"""Codes of a few bits each, as bytes.

Code follows code, the lowest bit of each first: bit n of the stream is the one that counts
2^(n % 8) in byte n // 8. Zeros fill the last byte.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qcli.deployment.graph import Integers

Bytes = NDArray[np.uint8]


def count_bits(num_levels: int) -> int:
    """Return the width of a code that tells `num_levels` apart."""
    return max(1, (num_levels - 1).bit_length())


def pack_bits(codes: Integers, bits: int) -> Bytes:
    """Pack codes of any shape, in C order.

    Args:
        codes: 0 to 2^bits - 1.
        bits: 1 to 32.
    """
    narrow = codes.reshape(-1, 1).astype(np.uint32)
    lowest_first = narrow >> np.arange(bits, dtype=np.uint32) & 1
    return np.packbits(lowest_first.astype(np.uint8), bitorder="little")


def unpack_bits(packed: Bytes, bits: int, count: int) -> Integers:
    """Return the [count] codes that were packed.

    Raises:
        ValueError: There are not so many.
    """
    stream = np.unpackbits(packed, bitorder="little")
    if len(stream) < count * bits:
        raise ValueError(f"{len(packed)} bytes hold no {count} codes of {bits} bits")
    codes = np.zeros(count, np.int64)
    for bit in range(bits):
        codes += stream[bit : count * bits : bits].astype(np.int64) << bit
    return codes
