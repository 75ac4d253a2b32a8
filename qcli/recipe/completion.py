"""Make checked recipes complete: what a method requires of a network, and every default.

Each part of a complete recipe knows its origin: the file, the flag, or whose default it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from qcli.catalog.building import settle_member
from qcli.catalog.catalog import Catalog
from qcli.catalog.entries import ArchitectureEntry, DatasetEntry
from qcli.recipe.checking import fault, fill_defaults, load_schema, options_schema, part_at
from qcli.recipe.checks import Findings, check_options
from qcli.recipe.document import Document, Pointer
from qcli.recipe.reference import Schema
from qcli.recipe.slots import slot_places

RECIPE_DEFAULT = "default"

_NAME: dict[str, Schema] = {"name": {}}


def default_of(name: str) -> str:
    """Return the label of what is an entry's default."""
    return f"default of {name}"


def complete_training(document: Document) -> Document:
    """Fill in what a checked training recipe does not say, entries' options left out."""
    return _without_schema(_fill(document, load_schema("training"), RECIPE_DEFAULT))


def complete_quantization(document: Document, catalog: Catalog) -> Document:
    """Fill in what a checked quantization recipe does not say, with every quantizer's options."""
    document = _fill(document, load_schema("quantization"), RECIPE_DEFAULT)
    for pointer in slot_places(document.value):
        name = part_at(document.value, pointer)["quantizer"]
        schema = options_schema(catalog.quantizer(name).options)
        document = _fill(document, schema, default_of(name), pointer)
    return _without_schema(document)


@dataclass(frozen=True)
class Named:
    """A training recipe with the entries that it names.

    Args:
        document: The recipe, with all options of the entries.
        architecture: The network's entry; None: it names none.
        name: What the network is called: with any family member; "" where there is none.
        member: Of a family.
        dataset: The data set's entry; None: it names none.
    """

    document: Document
    architecture: ArchitectureEntry | None
    name: str
    member: str | None
    dataset: DatasetEntry | None


def complete_entries(document: Document, quantization: Document | None, catalog: Catalog) -> Named:
    """Fill in the options of the network and of the data set that a training recipe names.

    Args:
        document: The checked recipe.
        quantization: The recipe that may require something of the network.
        catalog: Where both are found.

    Raises:
        RecipeError: The network has no such option, or the recipes contradict each other.
        UsageError: A family has no such member.
    """
    given = (document.value.get("architecture") or {}).get("name")
    entry, name, member = None, "", None
    if given is not None:
        entry, member = settle_member(*catalog.architecture(given))
        name = given if member is None else f"{entry.name}{member}"
        document = _complete_network(document, entry, name, quantization)
    dataset_name = document.value["dataset"]["name"]
    dataset = catalog.dataset(dataset_name) if dataset_name else None
    if dataset:
        schema = options_schema(dataset.options, **_NAME)
        document = _fill(document, schema, default_of(dataset.name), ("dataset",))
    return Named(document, entry, name, member, dataset)


def _complete_network(
    document: Document, entry: ArchitectureEntry, name: str, quantization: Document | None
) -> Document:
    given = document.value["architecture"]
    document = document.with_filled(("architecture",), {**given, "name": name}, {})
    if quantization and "architecture_options" in quantization.value:
        required = quantization.value["architecture_options"]
        Findings(_unmet(quantization, entry, name)).raise_any()
        Findings(list(_contradictions(quantization, given, required))).raise_any()
        for key in required.keys() - given.keys():
            origin = quantization.where(("architecture_options", key))
            document = document.with_value(("architecture", key), required[key], origin)
    schema = options_schema(entry.options, **_NAME)
    return _fill(document, schema, default_of(name), ("architecture",))


def _fill(document: Document, schema: Schema, label: str, at: Pointer = ()) -> Document:
    places: list[Pointer] = []
    value = fill_defaults(part_at(document.value, at), schema, places=places, at=at)
    return document.with_filled(at, value, dict.fromkeys(places, label))


def _without_schema(document: Document) -> Document:
    """Leave out where an editor finds a schema: it is no part of what a recipe does."""
    kept = {key: part for key, part in document.value.items() if key != "$schema"}
    return replace(document, value=kept)


def _unmet(quantization: Document, entry: ArchitectureEntry, name: str) -> list[str]:
    """Return the faults of the options that a method requires of a network."""
    part = "architecture_options"
    if entry.options:
        return check_options(quantization, part, entry.options)
    text = (
        f"the method requires it, but {name} has no options; choose another network: "
        "run `qcli list architectures`"
    )
    return [fault(quantization, (part, key), text) for key in quantization.value[part]]


def _contradictions(
    quantization: Document, given: Mapping[str, Any], required: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the options for which a training recipe says something else than the method."""
    for key, wanted in required.items():
        if given.get(key, wanted) != wanted:
            text = (
                f"the method requires {json.dumps(wanted)}, the training recipe says "
                f"{json.dumps(given[key])}; remove one of them"
            )
            yield fault(quantization, ("architecture_options", key), text)
