"""The slots of a quantization recipe against the options of the quantizers that they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qcli.catalog.catalog import Catalog
from qcli.catalog.entries import SLOTS
from qcli.errors import PluginError
from qcli.recipe.checking import fault, fill_defaults, find_faults, options_schema
from qcli.recipe.document import Document, Pointer

QUANTIZER_SCHEMA = {"description": "The quantizer's name.", "type": "string"}


def slot_places(value: Mapping[str, Any]) -> Iterator[Pointer]:
    """Yield the pointer of every slot of a recipe that is not null."""
    for part in ("default", "first_layer", "last_layer"):
        for slot in SLOTS:
            if value.get(part, {}).get(slot) is not None:
                yield (part, slot)
    for number, rule in enumerate(value.get("layers", ())):
        for slot in SLOTS:
            if rule.get(slot) is not None:
                yield ("layers", str(number), slot)


def slot_at(value: Any, pointer: Pointer) -> Any:
    """Return the part of a recipe at a pointer."""
    for key in pointer:
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def check_slots(document: Document, catalog: Catalog) -> tuple[list[str], list[str]]:
    """Check every slot against its quantizer's options.

    Returns:
        The faults of the recipe, and those that are names which no plugin offers.
    """
    faults: list[str] = []
    missing: list[str] = []
    for pointer in slot_places(document.value):
        name = slot_at(document.value, pointer)["quantizer"]
        try:
            entry = catalog.quantizer(name)
        except PluginError as error:
            missing.append(fault(document, (*pointer, "quantizer"), str(error)))
            continue
        if pointer[-1] not in entry.quantizes:
            allowed = ", ".join(slot for slot in SLOTS if slot in entry.quantizes)
            text = f'"{name}" quantizes {allowed} only'
            faults.append(fault(document, (*pointer, "quantizer"), text))
        schema = options_schema(entry.options, quantizer=QUANTIZER_SCHEMA)
        faults += find_faults(document, schema, pointer)
    return faults, missing


def fill_slots(value: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Return a copy of a checked recipe in which every slot has all its options."""
    for pointer in slot_places(value):
        slot = slot_at(value, pointer)
        schema = options_schema(catalog.quantizer(slot["quantizer"]).options)
        value = _replace(value, pointer, fill_defaults(slot, schema))
    return value


def _replace(tree: Any, pointer: Pointer, value: Any) -> Any:
    if not pointer:
        return value
    key, rest = pointer[0], pointer[1:]
    if isinstance(tree, list):
        index = int(key)
        return [*tree[:index], _replace(tree[index], rest, value), *tree[index + 1 :]]
    return {**tree, key: _replace(tree[key], rest, value)}
