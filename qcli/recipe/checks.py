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
    findings = Findings(find_faults(document, load_schema(kind)))
    if kind == "quantization":
        findings.add(Findings(*check_slots(document, catalog)))
        return findings
    if not findings:
        findings.faults += _relations(document)
    for part in ("architecture", "dataset"):
        findings.add(_check_entry(document, part, catalog))
    return findings


def check_options(
    document: Document, part: str, options: Mapping[str, Any], **fixed: Mapping[str, Any]
) -> list[str]:
    """Check the object `part` of a document against an entry's options."""
    return find_faults(document, options_schema(options, **fixed), (part,))


def _check_entry(document: Document, part: str, catalog: Catalog) -> Findings:
    given = document.value.get(part)
    name = given.get("name") if isinstance(given, Mapping) else None
    if not isinstance(name, str):
        return Findings()
    try:
        entry = catalog.dataset(name) if part == "dataset" else catalog.architecture(name)[0]
    except PluginError as error:
        return Findings(missing=[fault(document, (part, "name"), str(error))])
    checked: Mapping[str, Any] = load_schema("training")["properties"][part]["properties"]
    return Findings(check_options(document, part, entry.options, **{key: {} for key in checked}))


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
        yield fault(document, ("accumulate",), _undivided(value["accumulate"], value["batch_size"]))
    if value["optimizer"].get("nesterov") and not value["optimizer"]["momentum"]:
        text = "found true without momentum, allowed: with a momentum above 0"
        yield fault(document, ("optimizer", "nesterov"), text)
    yield from _idle_options(document, value)
    constants = value["normalize"]
    if isinstance(constants, dict) and len(constants["mean"]) != len(constants["std"]):
        lengths = " and ".join(f"{len(constants[key])} in {key}" for key in ("mean", "std"))
        text = f"found {lengths}, allowed: one number in each for every channel"
        yield fault(document, ("normalize",), text)


def _idle_options(document: Document, value: Mapping[str, Any]) -> Iterator[str]:
    """Yield options that another option leaves without effect."""
    if value["loss"] != "cross_entropy" and value["label_smoothing"]:
        text = f"found {value['label_smoothing']}, which belongs to the cross-entropy; remove it"
        yield fault(document, ("label_smoothing",), text)
    yield from _idle_distillation(document, value)
    if value["clip_gradient_at"] != "latent" and value["clip_gradient_norm"] is None:
        text = "nothing is cut; set clip_gradient_norm too, such as 5"
        yield fault(document, ("clip_gradient_at",), text)
    for role, group in value["optimizer"]["groups"].items():
        if "lr" in group and "lr_factor" in group:
            text = "found lr and lr_factor, allowed: one of them"
            yield fault(document, ("optimizer", "groups", role), text)


def _idle_distillation(document: Document, value: Mapping[str, Any]) -> Iterator[str]:
    """Yield what does not go with learning from a teacher."""
    if value["distill"] is None:
        return
    if value["loss"] != "cross_entropy":
        text = f'found with the loss "{value["loss"]}", allowed: with the cross-entropy; remove one'
        yield fault(document, ("distill",), text)
    if value["distill"]["weight"] == 1 and value["label_smoothing"]:
        text = f"found {value['label_smoothing']}, but the weight of distill is 1; remove one"
        yield fault(document, ("label_smoothing",), text)


def _undivided(parts: int, batch_size: int) -> str:
    divisors = [number for number in range(1, batch_size + 1) if batch_size % number == 0]
    below = [number for number in divisors if number < parts][-1:]
    above = [number for number in divisors if number > parts][:1]
    near = " or ".join(map(str, below + above))
    return f"{parts} does not divide batch_size {batch_size}; write {near}"
