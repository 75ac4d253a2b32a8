"""Which curves show what a quantizer is: those of the recipes that use it, at few widths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qcli.catalog.entries import QuantizerEntry
from qcli.errors import PlanError
from qcli.quantization.transfer import Transfer, sample_transfer
from qcli.recipe.usage import variants_of

MOST_CURVES = 3
# More levels than these melt into a line.
MOST_LEVELS = 16
# Widths for a method of which recipes show too few.
WIDTHS = (2, 4)


def portray(entry: QuantizerEntry) -> list[Transfer]:
    """Return the curves of a quantizer, for weights first, then for activations.

    Every plugin's quantizer has some: options that no recipe gives are its defaults.
    """
    activation = next((slot for slot in ("input", "output") if slot in entry.quantizes), None)
    curves: list[Transfer] = []
    if "weight" in entry.quantizes:
        curves += _of_slot(entry, "weight", variants_of(entry.name, {"weight"}))
    if activation:
        curves += _of_slot(entry, activation, variants_of(entry.name, {"input", "output"}))
    return curves


def _of_slot(entry: QuantizerEntry, slot: str, variants: list[dict[str, Any]]) -> list[Transfer]:
    """Take one curve for each number of levels, and one more where training differs."""
    chosen: dict[tuple[int, bool], Transfer] = {}
    for curve in _curves(entry, slot, variants or [{}]):
        chosen.setdefault((len(curve.levels), len(curve.training) > 1), curve)
    if len(chosen) < 2 and "bits" in entry.options:
        base = variants[0] if variants else {}
        for curve in _curves(entry, slot, [{**base, "bits": bits} for bits in WIDTHS]):
            chosen.setdefault((len(curve.levels), len(curve.training) > 1), curve)
    few = [key for key in chosen if key[0] <= MOST_LEVELS] or list(chosen)
    return [chosen[key] for key in sorted(few[:MOST_CURVES])]


def _curves(entry: QuantizerEntry, slot: str, variants: list[dict[str, Any]]) -> Iterator[Transfer]:
    """Yield what quantizes; an option set of another slot may be refused, and has no curve."""
    for options in variants:
        try:
            curve = sample_transfer(entry, slot, options)
        except PlanError:
            continue
        if len(curve.levels):
            yield curve
