"""Check whole recipes: the core schema first, then every entry's own options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qcli.catalog.catalog import Catalog
from qcli.errors import PluginError, RecipeError
from qcli.recipe.checking import fault, fill_defaults, find_faults, load_schema, options_schema
from qcli.recipe.document import Document
from qcli.recipe.slots import check_slots

NAME_SCHEMA = {"description": "The entry's name.", "type": "string"}


@dataclass
class Findings:
    """What is wrong with recipes, told together.

    Args:
        faults: Lines about the recipes themselves.
        missing: Lines about names that no plugin offers.
    """

    faults: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.faults or self.missing)

    def add(self, other: Findings) -> None:
        """Take in the findings of another recipe."""
        self.faults += other.faults
        self.missing += other.missing

    def raise_any(self) -> None:
        """Raise what was found.

        Raises:
            RecipeError: There are faults, perhaps with missing names.
            PluginError: There are missing names alone.
        """
        if self.faults:
            raise RecipeError([*self.faults, *self.missing])
        if self.missing:
            raise PluginError("\n".join(self.missing))


def check_recipe(document: Document, kind: str, catalog: Catalog) -> Findings:
    """Check a "training" or "quantization" recipe against its schema and its entries."""
    faults = find_faults(document, load_schema(kind))
    if faults:
        return Findings(faults)
    if kind == "quantization":
        return Findings(*check_slots(document, catalog))
    findings = Findings(list(_relations(document)))
    findings.add(_check_entry(document, "dataset", catalog))
    if document.value.get("architecture"):
        findings.add(_check_entry(document, "architecture", catalog))
    return findings


def check_options(
    document: Document, part: str, options: Mapping[str, Any], **fixed: Mapping[str, Any]
) -> list[str]:
    """Check the object `part` of a document against an entry's options."""
    return find_faults(document, options_schema(options, **fixed), (part,))


def _check_entry(document: Document, part: str, catalog: Catalog) -> Findings:
    name = document.value[part]["name"]
    try:
        entry = catalog.dataset(name) if part == "dataset" else catalog.architecture(name)[0]
    except PluginError as error:
        return Findings(missing=[fault(document, (part, "name"), str(error))])
    return Findings(check_options(document, part, entry.options, name=NAME_SCHEMA))


def _relations(document: Document) -> Iterator[str]:
    """Yield the faults of a training recipe that lie between fields."""
    value = fill_defaults(document.value, load_schema("training"))
    if value["select_on"] == "validation" and value["validation_fraction"] == 0:
        text = 'found "validation", but nothing is held out; set validation_fraction, such as 0.1'
        yield fault(document, ("select_on",), text)
    if value["select_on"] == "test" and value["validation_fraction"] > 0:
        text = 'the held-out part would select nothing; set "select_on": "validation"'
        yield fault(document, ("validation_fraction",), text)
    if value["batch_size"] % value["accumulate"]:
        text = f"{value['accumulate']} does not divide batch_size {value['batch_size']}"
        yield fault(document, ("accumulate",), text)
    if value["optimizer"].get("nesterov") and not value["optimizer"]["momentum"]:
        yield fault(document, ("optimizer", "nesterov"), "needs a momentum above 0")
    constants = value["normalize"]
    if isinstance(constants, dict) and len(constants["mean"]) != len(constants["std"]):
        yield fault(document, ("normalize",), "mean and std have different lengths")
