"""A quantization recipe, frozen, as the planner reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SlotValue = Mapping[str, Any] | None


@dataclass(frozen=True)
class Rule:
    """A rule for some layers.

    Args:
        match: Pattern of dotted module names, or None.
        type: Class name of a module, or None.
        depthwise: Whether the convolution has one group for each input channel, or None.
        slots: What the rule puts into "weight", "input" and "output"; absent: as before.
        optional: Whether the rule may match no layer.
    """

    match: str | None
    type: str | None
    depthwise: bool | None
    slots: Mapping[str, SlotValue]
    optional: bool = False

    def __str__(self) -> str:
        parts = {"match": self.match, "type": self.type, "depthwise": self.depthwise}
        return ", ".join(f"{key} {part}" for key, part in parts.items() if part is not None)


@dataclass(frozen=True)
class QuantizationRecipe:
    """Which quantizer each layer gets: the fields of the quantization schema, all filled in.

    Args:
        name: What the recipe is called.
        default: Slots of every layer.
        first_layer: Slots of the first layer, over the default.
        last_layer: Slots of the last layer, over the default.
        layers: Rules, later ones win.
        document: The effective recipe as JSON.
        label: Where the recipe comes from, for messages.
        reasons: For "first_layer" and "last_layer", the flag that set it.
    """

    name: str
    default: Mapping[str, SlotValue]
    first_layer: Mapping[str, SlotValue]
    last_layer: Mapping[str, SlotValue]
    layers: tuple[Rule, ...]
    document: Mapping[str, Any]
    label: str
    reasons: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(
        cls, value: Mapping[str, Any], label: str = "", reasons: Mapping[str, str] | None = None
    ) -> QuantizationRecipe:
        """Build the recipe from a checked and filled JSON object."""
        return cls(
            name=value["name"],
            default=value["default"],
            first_layer=value["first_layer"],
            last_layer=value["last_layer"],
            layers=tuple(_rule(rule) for rule in value["layers"]),
            document=value,
            label=label or value["name"],
            reasons=reasons or {},
        )


def _rule(value: Mapping[str, Any]) -> Rule:
    slots = {key: value[key] for key in ("weight", "input", "output") if key in value}
    selectors = (value.get("match"), value.get("type"), value.get("depthwise"))
    return Rule(*selectors, slots, value.get("optional", False))
