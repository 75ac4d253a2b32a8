"""The forms in which C finds the codes of a quantizer. All of them are equal; the smallest wins.

thresholds   sign[c] * I is compared with the thresholds of the channel: one operand
boundaries   t is compared with the boundaries of the channel
grid         2^lift[c] * t is compared with boundaries that all channels share
shift        the operand, or t, is scaled and rounded, where that is proved equal
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from qcli.deployment.boundaries import find_steps
from qcli.deployment.graph import Integers, Quantize, Tensor
from qcli_exporters.c99.rounding import (
    LARGEST_TERM,
    UNREACHABLE,
    Places,
    fit_rounding,
    scale_places,
    scale_sums,
)
from qcli_exporters.c99.table import narrow, share_rows

# So that 2^61 can be shifted back.
MOST_LIFT = 60


@dataclass(frozen=True)
class Form:
    """What a code is found with, or a score.

    Args:
        channels: Numbers of each channel, [C, ...], by name: "steps" to compare with; "signs" of
            the only operand where some are -1, or "multipliers" [C, J] and "offsets" of t; "lifts";
            "shifts".
        shared: "steps" [K - 1] where all channels have the same.
        ties: Where "shifts" round a tie to: "even", "odd" or "up".
    """

    channels: Mapping[str, Integers]
    shared: Mapping[str, Integers] = field(default_factory=dict)
    ties: str = "up"

    @property
    def size_bytes(self) -> int:
        """What its tables take."""
        rows = share_rows(list(self.channels.values()))
        tables = rows.make_tables(list(self.channels), "rows")
        shared = sum(narrow(each).nbytes for each in self.shared.values())
        return sum(table.size_bytes for table in tables) + shared


def choose_form(node: Quantize, operands: Sequence[Tensor]) -> Form:
    """Return the form that takes the least memory.

    Args:
        node: Of at least two levels.
        operands: What it reads, with their ranges.
    """
    forms = [_shift(node, operands), _grid(node, operands), _boundaries(node)]
    if len(operands) == 1:
        forms.append(_thresholds(node, operands[0]))
    return min((form for form in forms if form), key=lambda form: form.size_bytes)


def _thresholds(node: Quantize, operand: Tensor) -> Form:
    steps = find_steps(node, operand)
    signs = {"signs": steps.signs} if (steps.signs < 0).any() else {}
    return Form({"steps": steps.thresholds, **signs})


def _affine(node: Quantize) -> dict[str, Integers]:
    return {"multipliers": node.multipliers.T, "offsets": node.bias}


def _boundaries(node: Quantize) -> Form:
    return Form({**_affine(node), "steps": node.boundaries})


def _grid(node: Quantize, operands: Sequence[Tensor]) -> Form | None:
    """Compare all channels with the boundaries of the one that has the most fraction bits."""
    low, high = (each[:, None] for each in range_of_sums(node, operands))
    reached = node.boundaries.clip(low, high + 1)
    moving = Places(reached, low[:, 0], high[:, 0]).have_steps
    if not moving.any():
        return None
    finest = np.where(moving, node.shift, -1).argmax()
    row = node.boundaries[finest]
    lifts = np.where(moving, node.shift[finest] - node.shift, 0)
    # C keeps lifted sums within 2^61, so that it can compare them.
    finite = np.abs(row) < UNREACHABLE
    too_far = finite & (np.abs(row) >= LARGEST_TERM)
    # A shift to the right is a floor; a ceiling is the negative floor of the negative.
    coarse = np.where(finite, -(-row >> lifts[:, None]), row).clip(low, high + 1)
    if lifts.max() > MOST_LIFT or too_far.any() or (coarse != reached)[moving].any():
        return None
    # What has one code alone gets a sum that has it on the grid.
    codes = (node.boundaries <= low).sum(1)
    placed = np.concatenate([row[:1] - 1, row])[codes].clip(-LARGEST_TERM, LARGEST_TERM)
    if (np.searchsorted(row, placed, side="right") != codes)[~moving].any():
        return None
    multipliers = np.where(moving[:, None], node.multipliers.T, 0)
    offsets = np.where(moving, node.bias, placed)
    return Form({"multipliers": multipliers, "offsets": offsets, "lifts": lifts}, {"steps": row})


def _shift(node: Quantize, operands: Sequence[Tensor]) -> Form | None:
    """Round the operand, or the sum of several, in a way that no value can tell from comparing."""
    if len(operands) == 1:
        steps = find_steps(node, operands[0])
        places = Places(steps.thresholds, *_flipped_range(steps.signs, operands[0]))
        rounding = fit_rounding(places, *scale_places(node, places))
        multipliers = steps.signs if rounding is None else steps.signs * rounding.factors
    else:
        low, high = (each - node.bias for each in range_of_sums(node, operands))
        reached = (node.boundaries - node.bias[:, None]).clip(low[:, None], high[:, None] + 1)
        places = Places(reached, low, high)
        rounding = fit_rounding(places, *scale_sums(node, places))
        multipliers = node.multipliers.T
    if rounding is None:
        return None
    channels = {"multipliers": multipliers, "offsets": rounding.offsets}
    return Form({**channels, "shifts": rounding.shifts}, ties=rounding.ties)


def _flipped_range(signs: Integers, operand: Tensor) -> tuple[Integers, Integers]:
    low = np.where(signs > 0, operand.low, -operand.high)
    high = np.where(signs > 0, operand.high, -operand.low)
    return low, high


def range_of_sums(node: Quantize, operands: Sequence[Tensor]) -> tuple[Integers, Integers]:
    """Return the least and the greatest t of each channel, [C]."""
    low, high = node.bias.copy(), node.bias.copy()
    for multiplier, operand in zip(node.multipliers, operands, strict=True):
        ends = multiplier * operand.low, multiplier * operand.high
        low += np.minimum(*ends)
        high += np.maximum(*ends)
    return low, high
