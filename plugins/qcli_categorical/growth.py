"""Growing a value space bit by bit: which of its values can be chosen yet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def check_growth(fractions: Sequence[float], count: int) -> None:
    """Refuse fractions that do not open a value space bit by bit.

    Args:
        fractions: Of training, one for each bit but the first; none: the space does not grow.
        count: How many values the space has.

    Raises:
        ValueError: There are too few or too many, or they do not ascend.
    """
    later_bits = (count - 1).bit_length() - 1
    if fractions and (len(fractions) != later_bits or list(fractions) != sorted(set(fractions))):
        raise ValueError(
            f'"growth_fractions" is {list(fractions)}; a value space of {count} values needs '
            f"{later_bits} ascending fractions, one for each bit but the first"
        )


def open_values(values: Tensor, bits: int, order: str) -> Tensor:
    """Return which values can be chosen: at most 2^bits, always those of fewer bits among them.

    Seen from the least and from the greatest value inwards alike: the first of them ("magnitude"),
    or every so many ("spread").

    Args:
        values: Float32 [K].
        bits: How many are open, from 1.
        order: "spread" or "magnitude".

    Returns:
        Bool [K].
    """
    rank = values.argsort().argsort()
    from_end = torch.minimum(rank, len(values) - 1 - rank)
    if order == "magnitude":
        return from_end < 1 << bits - 1
    closed_bits = max(0, (len(values) - 1).bit_length() - bits)
    return from_end % (1 << closed_bits) == 0
