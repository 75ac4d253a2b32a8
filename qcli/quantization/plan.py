"""The plan: which quantizer every layer gets, and why, as a table that anyone can print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from qcli.catalog.building import build_entry
from qcli.catalog.entries import QuantizerEntry
from qcli.errors import PlanError, PluginError
from qcli.quantization.quantizer import FLOAT_BITS, Quantizer, TensorInfo


@dataclass(frozen=True)
class SlotPlan:
    """A quantizer that will be built.

    Args:
        entry: The quantizer's entry.
        options: Its options.
        info: The tensor that it serves.
        bits: The width of its codes.
    """

    entry: QuantizerEntry
    options: Mapping[str, Any]
    info: TensorInfo
    bits: int

    @property
    def label(self) -> str:
        """The quantizer with its width, for people."""
        width = "float" if self.bits == FLOAT_BITS else f"{self.bits}b"
        return f"{self.entry.name} {width}"

    def build(self) -> Quantizer:
        """Build the quantizer."""
        return build_quantizer(self.entry, self.info, self.options)

    def to_json(self) -> dict[str, Any]:
        """Return the slot as a recipe would write it, with its bits."""
        return {"quantizer": self.entry.name, **self.options, "bits": self.bits}


@dataclass(frozen=True)
class LayerPlan:
    """One row of the plan.

    Args:
        layer: Dotted name.
        type: Class name.
        slots: For "weight", "input" and "output", what fills them; None: float.
        because: The rule that decided last.
        parameters: Trainable numbers of the float layer.
        weights: Those of its weight.
        macs: Multiply-accumulates for one image.
        input_bits: The width of what the layer receives.
    """

    layer: str
    type: str
    slots: Mapping[str, SlotPlan | None]
    because: str
    parameters: int
    weights: int
    macs: int
    input_bits: int

    @property
    def has_quantized_weight(self) -> bool:
        """Whether the weight has fewer bits than float."""
        return self.weight_bits < FLOAT_BITS

    @property
    def weight_bits(self) -> int:
        """The width of a weight; 32 for float."""
        slot = self.slots["weight"]
        return slot.bits if slot else FLOAT_BITS


@dataclass(frozen=True)
class Plan:
    """The table of layers.

    Args:
        layers: One row for each quantizable layer, and for each module with an output quantizer.
        parameters: Trainable numbers of the whole float network.
    """

    layers: tuple[LayerPlan, ...]
    parameters: int = 0

    def slots(self) -> Iterator[tuple[str, str, SlotPlan]]:
        """Yield layer, slot and plan of every quantizer."""
        for row in self.layers:
            for slot, planned in row.slots.items():
                if planned:
                    yield row.layer, slot, planned


def build_quantizer(
    entry: QuantizerEntry, info: TensorInfo, options: Mapping[str, Any]
) -> Quantizer:
    """Build a quantizer from its entry.

    Raises:
        PlanError: The quantizer refuses these options for this tensor.
        PluginError: What it builds is no Quantizer.
    """
    try:
        built = build_entry(entry, info, **options)
    except ValueError as error:
        raise PlanError([f"layer {info.layer}, {info.role}: {entry.name}: {error}"]) from None
    if not isinstance(built, Quantizer):
        raise PluginError(f'"{entry.name}" builds a {type(built).__name__}, not a qcli.Quantizer')
    return built
