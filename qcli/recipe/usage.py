"""Which shipped recipes and published rows use a method, and with which options."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from qcli.catalog.entries import SLOTS
from qcli.recipe.document import read_document
from qcli.recipe.experiment import Row, load_tables
from qcli.recipe.library import shipped_recipes


@dataclass(frozen=True)
class Use:
    """One place of a recipe that names a quantizer.

    Args:
        recipe: The quantization recipe.
        slot: "weight", "input" or "output".
        options: What the recipe says beside the name.
        is_default: Whether it is said of all layers, rather than of the first, the last or some.
    """

    recipe: str
    slot: str
    options: Mapping[str, Any]
    is_default: bool


def uses_of(quantizer: str) -> list[Use]:
    """Return every place of the shipped quantization recipes that names a quantizer."""
    return [use for name, use in _all_uses() if name == quantizer]


@cache
def _all_uses() -> tuple[tuple[str, Use], ...]:
    """Return every quantizer's name that a shipped recipe holds, and the place."""
    return tuple(
        (options.pop("quantizer"), Use(recipe, slot, options, is_default))
        for recipe in shipped_recipes("quantization")
        for slot, options, is_default in _slots(read_document(recipe, "quantization").value)
    )


def variants_of(quantizer: str, slots: Collection[str]) -> list[dict[str, Any]]:
    """Return the option sets that recipes give such slots of all layers, frequent ones first."""
    counts: dict[str, int] = {}
    for use in uses_of(quantizer):
        if use.slot in slots and use.is_default:
            key = json.dumps(use.options, sort_keys=True)
            counts[key] = counts.get(key, 0) + 1
    return [json.loads(key) for key in sorted(counts, key=lambda key: -counts[key])]


def rows_of(quantizer: str) -> list[Row]:
    """Return the rows of published tables whose quantization recipe names a quantizer."""
    recipes = {use.recipe for use in uses_of(quantizer)}
    return [row for table in load_tables() for row in table.rows if row.quantization in recipes]


def _slots(recipe: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Yield the slots of a recipe: which, a copy of what it holds, whether of all layers."""
    for key in ("default", "first_layer", "last_layer"):
        yield from _filled(recipe.get(key, {}), key == "default")
    for rule in recipe.get("layers", ()):
        yield from _filled(rule, False)


def _filled(
    slots: Mapping[str, Any], is_default: bool
) -> Iterator[tuple[str, dict[str, Any], bool]]:
    for slot in SLOTS:
        if isinstance(slots.get(slot), Mapping):
            yield slot, dict(slots[slot]), is_default
