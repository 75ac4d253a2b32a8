"""The slots of a quantization recipe against the options of the quantizers that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from qcli.catalog.catalog import Catalog
from qcli.catalog.entries import SLOTS, QuantizerEntry
from qcli.errors import PluginError
from qcli.recipe.checking import fault, fill_defaults, find_faults, options_schema, part_at
from qcli.recipe.document import Document, Pointer

QUANTIZER_SCHEMA = {"description": "The quantizer's name.", "type": "string"}


def slot_places(value: Mapping[str, Any]) -> Iterator[Pointer]:
    """Yield the pointer of every slot of a recipe that names a quantizer."""
    for part in ("default", "first_layer", "last_layer"):
        for slot in _named_slots(value.get(part)):
            yield (part, slot)
    rules = value.get("layers")
    for number, rule in enumerate(rules if isinstance(rules, list) else ()):
        for slot in _named_slots(rule):
            yield ("layers", str(number), slot)


def _named_slots(part: Any) -> list[str]:
    """Return the well-formed slots of a part that need not be well-formed itself."""
    given = part if isinstance(part, Mapping) else {}
    slots = {slot: given[slot] for slot in SLOTS if isinstance(given.get(slot), Mapping)}
    return [slot for slot, part in slots.items() if isinstance(part.get("quantizer"), str)]


def check_slots(document: Document, catalog: Catalog) -> tuple[list[str], list[str]]:
    """Check every slot that names a quantizer against its options.

    Returns:
        The faults of the recipe, and those that are names which no plugin offers.
    """
    faults: list[str] = []
    missing: list[str] = []
    for pointer in slot_places(document.value):
        name = part_at(document.value, pointer)["quantizer"]
        try:
            entry = catalog.quantizer(name)
        except PluginError as error:
            missing.append(fault(document, (*pointer, "quantizer"), str(error)))
            continue
        if pointer[-1] not in entry.quantizes:
            faults.append(fault(document, (*pointer, "quantizer"), _unfit(entry, pointer, catalog)))
        schema = options_schema(entry.options, quantizer=QUANTIZER_SCHEMA)
        faults += find_faults(document, schema, pointer)
    return faults, missing


def _unfit(entry: QuantizerEntry, pointer: Pointer, catalog: Catalog) -> str:
    """Say that a quantizer cannot fill the slot at a pointer, and which ones can."""
    can = ", ".join(slot for slot in SLOTS if slot in entry.quantizes)
    others = [catalog.quantizer(name) for name in catalog.of_kind("quantizers")]
    allowed = ", ".join(other.name for other in others if pointer[-1] in other.quantizes)
    return f'found "{entry.name}", which quantizes {can} only; allowed: {allowed or "null"}'


def fill_slots(value: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Return a copy of a checked recipe in which every slot has all its options."""

    def fill(slot: Mapping[str, Any], _: Pointer) -> Any:
        return fill_defaults(slot, options_schema(catalog.quantizer(slot["quantizer"]).options))

    return map_slots(value, fill)


def map_slots(
    value: Mapping[str, Any], change: Callable[[Mapping[str, Any], Pointer], Any]
) -> dict[str, Any]:
    """Return a copy of a recipe with every slot that names a quantizer changed."""
    changed = dict(value)
    for pointer in slot_places(value):
        changed = _replace(changed, pointer, change(part_at(value, pointer), pointer))
    return changed


def _replace(tree: Any, pointer: Pointer, value: Any) -> Any:
    if not pointer:
        return value
    key, rest = pointer[0], pointer[1:]
    if isinstance(tree, list):
        index = int(key)
        return [*tree[:index], _replace(tree[index], rest, value), *tree[index + 1 :]]
    return {**tree, key: _replace(tree[key], rest, value)}
