"""Recipes for a run of another length: everything that is counted in epochs, scaled alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qcli.catalog.catalog import Catalog
from qcli.errors import UsageError
from qcli.recipe.checking import branches, load_schema, options_schema
from qcli.recipe.document import Pointer
from qcli.recipe.reference import Schema, resolve_reference
from qcli.recipe.slots import map_slots

SMALLEST, LARGEST = 1e-6, 1e6


@dataclass(frozen=True)
class Scaling:
    """Makes a run `scale` times as long, and what happens in it so many times as slow.

    Fields whose JSON Schema says `"unit": "epochs"` are multiplied. Integers are rounded, to 1 at
    least; in a list of them, such as milestones, the later of two that become equal moves on by
    one, and a note tells of a drop that reaches the end of the run, where it never comes. Other
    numbers, such as the length of a warm-up, are exact.
    Of schedules, `exponential` has its factor f become f^(1 / scale), and `slope` its slope s
    become s / scale, whether they change each epoch or each step. The other kinds, and options
    that are fractions of training, are relative already. Nothing else changes.

    Args:
        scale: The factor on the number of epochs, 1e-6..1e6.
        notes: In words, what rounding changed beyond the nearest epoch; grows with each recipe.

    Raises:
        UsageError: The scale is out of range.
    """

    scale: float
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not SMALLEST <= self.scale <= LARGEST:
            allowed = f"allowed: a number from {SMALLEST:g} to {LARGEST:g}"
            raise UsageError(f"--epochs-scale {self.scale:g}: {allowed}")

    def training(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return a checked training recipe, its defaults filled in, at the new length."""
        scaled: dict[str, Any] = self._scaled(value, load_schema("training"))
        self._note_lost_drops(value, scaled, (value["epochs"], scaled["epochs"]))
        return scaled

    def quantization(self, value: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
        """Return a checked quantization recipe, its defaults filled in, at the new length."""

        def scale_slot(slot: Mapping[str, Any], pointer: Pointer) -> Any:
            options = catalog.quantizer(slot["quantizer"]).options
            return self._scaled(slot, options_schema(options), pointer)

        return map_slots(value, scale_slot)

    def _scaled(
        self, value: Any, schema: Schema, pointer: Pointer = (), root: Schema | None = None
    ) -> Any:
        root = schema if root is None else root
        schema = resolve_reference(schema, root)
        if schema.get("unit") == "epochs" and value is not None:
            return self._count(value, schema, pointer)
        if isinstance(value, list):
            items = schema.get("items", {})
            return [
                self._scaled(part, items, (*pointer, str(number)), root)
                for number, part in enumerate(value)
            ]
        if not isinstance(value, Mapping):
            return value
        return {**value, **self._rate(value), **self._parts(value, schema, pointer, root)}

    def _parts(
        self, value: Mapping[str, Any], schema: Schema, pointer: Pointer, root: Schema
    ) -> dict[str, Any]:
        """Return those fields of an object that change."""
        changed = {}
        for branch in branches(value, schema, root):
            for key, part in branch.get("properties", {}).items():
                if key not in value:
                    continue
                scaled = self._scaled(value[key], part, (*pointer, key), root)
                if scaled != value[key]:
                    changed[key] = scaled
        return changed

    def _rate(self, value: Mapping[str, Any]) -> dict[str, float]:
        """Return the field of a schedule that is a change for each epoch or step, scaled."""
        match value:
            case {"kind": "exponential", "factor": int() | float() as factor}:
                return {"factor": _power(factor, 1 / self.scale)}
            case {"kind": "slope", "slope": int() | float() as slope}:
                return {"slope": slope / self.scale}
            case _:
                return {}

    def _count(self, value: Any, schema: Schema, pointer: Pointer) -> Any:
        """Return a number of epochs, or a list of them, scaled."""
        if isinstance(value, list):
            return self._apart(value, pointer)
        if schema.get("type") != "integer":
            return value * self.scale
        if value * self.scale < 0.5:
            self._note(pointer, f"{value} becomes 1, the shortest there is")
        return _whole(value * self.scale)

    def _apart(self, epochs: Sequence[int], pointer: Pointer) -> list[int]:
        apart: list[int] = []
        for epoch in sorted(epochs):
            apart.append(max(_whole(epoch * self.scale), apart[-1] + 1 if apart else 1))
        if apart != [round(epoch * self.scale) for epoch in sorted(epochs)]:
            self._note(pointer, f"{list(epochs)} becomes {apart}: from 1 on, and no two alike")
        return apart

    def _note_lost_drops(
        self,
        old: Mapping[str, Any],
        new: Mapping[str, Any],
        epochs: tuple[int, int],
        pointer: Pointer = (),
    ) -> None:
        """Note drops within the run of `epochs[0]` epochs that are beyond that of `epochs[1]`."""
        for key, part in old.items():
            own = (*pointer, key)
            if isinstance(part, Mapping):
                self._note_lost_drops(part, new[key], epochs, own)
            elif key == "period_epochs":
                self._note_lost([part], [new[key]], epochs, own)
            elif key == "milestones_epochs":
                self._note_lost(sorted(part), new[key], epochs, own)

    def _note_lost(
        self, old: Sequence[int], new: Sequence[int], epochs: tuple[int, int], pointer: Pointer
    ) -> None:
        for before, after in zip(old, new, strict=True):
            if before < epochs[0] and after >= epochs[1]:
                text = f"{before} of {epochs[0]} epochs becomes {after} of {epochs[1]}"
                self._note(pointer, f"{text}: this drop never comes")

    def _note(self, pointer: Pointer, text: str) -> None:
        self.notes.append(f"--epochs-scale {self.scale:g}: /{'/'.join(pointer)}: {text}")


def _whole(epochs: float) -> int:
    """Round to 1 at least."""
    return max(1, round(epochs))


def _power(factor: float, exponent: float) -> float:
    """Raise a positive factor to a power, within what a JSON recipe can hold."""
    try:
        return max(math.pow(factor, exponent), 1e-300)
    except OverflowError:
        return 1e300
