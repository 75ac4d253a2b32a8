"""How the arrays of a graph lie in a packed file: three forms, all of them exact.

whole   {values}, in the narrowest type
levels  {bits, shape, codes, levels}: bit-packed places in the list of an array's distinct integers
finest  {finest, finest_shift, shift}: boundaries of channels that are the same real numbers. Each
        is kept once, from the channel with the most fraction bits:
        ceil(ceil(x * 2^a) / 2^(a - b)) = ceil(x * 2^b).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcli.deployment.bit_packing import count_bits, pack_bits, unpack_bits
from qcli.deployment.graph import STORAGE, Integers

Parts = dict[str, NDArray[Any]]

# What stands for a boundary that is never reached; with a minus, always.
UNREACHABLE = np.int64(1) << 62


@dataclass(frozen=True)
class Stored:
    """An array in one of the forms.

    Args:
        parts: The arrays that it was taken apart into, by part.
        facts: What else is needed, JSON values.
    """

    parts: Parts
    facts: Mapping[str, Any]

    @property
    def size_bytes(self) -> int:
        """What the parts take."""
        return sum(part.nbytes for part in self.parts.values())


def store_whole(values: Integers) -> Stored:
    """Keep an array as it is."""
    return Stored({"values": _narrow(values)}, {})


def store_levels(values: Integers) -> Stored:
    """Pack an array of few distinct integers."""
    levels, codes = np.unique(values, return_inverse=True)
    bits = count_bits(len(levels))
    parts = {"codes": pack_bits(codes, bits), "levels": _narrow(levels)}
    return Stored(parts, {"bits": bits, "shape": list(values.shape)})


def store_boundaries(boundaries: Integers, shift: Integers) -> Stored:
    """Keep each boundary once where all channels agree on it, else all of them.

    Args:
        boundaries: [C, K - 1], as in `Quantize`.
        shift: [C].
    """
    reachable = np.abs(boundaries) < UNREACHABLE
    channels = np.where(reachable, shift[:, None], np.iinfo(np.int64).min).argmax(0)
    finest = boundaries[channels, np.arange(boundaries.shape[1])]
    if not np.array_equal(_coarsen(finest, shift[channels], shift), boundaries):
        return store_whole(boundaries)
    parts = {"finest": finest, "finest_shift": shift[channels], "shift": shift}
    return Stored({part: _narrow(values) for part, values in parts.items()}, {})


def restore(stored: Stored) -> Integers:
    """Return the array that was stored.

    Raises:
        KeyError, ValueError: The parts make no array.
    """
    parts = stored.parts
    if "codes" in parts:
        bits, shape = stored.facts["bits"], stored.facts["shape"]
        codes = unpack_bits(parts["codes"], bits, int(np.prod(shape, dtype=np.int64)))
        return parts["levels"].astype(np.int64)[codes].reshape(shape)
    if "finest" in parts:
        wide = {part: values.astype(np.int64) for part, values in parts.items()}
        return _coarsen(wide["finest"], wide["finest_shift"], wide["shift"])
    return parts["values"].astype(np.int64)


def _coarsen(finest: Integers, finest_shift: Integers, shift: Integers) -> Integers:
    """Return the boundaries [C, K - 1] of channels with fewer fraction bits, or out of reach."""
    dropped = finest_shift - shift[:, None]
    # A shift to the right is a floor; a ceiling is the negative floor of the negative.
    ceiling = -(-finest >> np.clip(dropped, 0, 63))
    out_of_reach = (dropped < 0) | (np.abs(finest) == UNREACHABLE)
    return np.where(out_of_reach, np.sign(finest) * UNREACHABLE, ceiling)


def _narrow(values: Integers) -> NDArray[Any]:
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    fits = (each for each in STORAGE if np.iinfo(each).min <= low and high <= np.iinfo(each).max)
    return np.ascontiguousarray(values.astype(next(fits)))
