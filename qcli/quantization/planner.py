"""Decide which quantizer every layer gets, before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from qcli.catalog.catalog import Catalog
from qcli.catalog.load import load_catalog
from qcli.errors import PlanError
from qcli.quantization.plan import LayerPlan, Plan, SlotPlan, build_quantizer
from qcli.quantization.quantizer import FLOAT_BITS, TensorInfo
from qcli.quantization.survey import (
    ACTIVATIONS,
    HOMOGENEOUS,
    QUANTIZABLE,
    TRANSPOSED,
    Survey,
    survey_model,
)
from qcli.recipe.quantization import QuantizationRecipe, Rule, SlotValue
from qcli.recipe.setting import read_quantization


def make_plan(
    model: nn.Module,
    recipe: str | Mapping[str, Any] | QuantizationRecipe | None,
    image_shape: tuple[int, ...],
    *,
    catalog: Catalog | None = None,
    first_layer: str | None = None,
    last_layer: str | None = None,
    pretrained: bool = False,
) -> Plan:
    """Plan the quantization of a float network.

    Args:
        model: The network, on any device, the meta device included.
        recipe: What to quantize: a shipped recipe's name, a path, a recipe as a dict, or a finished
            one; None: nothing.
        image_shape: (C, H, W).
        catalog: Where quantizers are found; None: every installed plugin.
        first_layer: Dotted name of the first layer; None: the first one called.
        last_layer: Dotted name of the last layer; None: the last one called.
        pretrained: Whether the weights were trained before.

    Raises:
        RecipeError: Every fault of the recipe.
        PlanError: Every way in which the recipe does not fit the network, by layer.
    """
    catalog = load_catalog() if catalog is None else catalog
    finished = read_quantization(recipe, catalog)
    survey = survey_model(model, image_shape)
    called = survey.called(model)
    ends = {
        "first_layer": first_layer or (called[0] if called else ""),
        "last_layer": last_layer or (called[-1] if called else ""),
    }
    return _Planner(model, survey, finished, catalog, ends, pretrained).plan()


@dataclass
class _Choice:
    """The slots of one module while rules are applied."""

    slots: dict[str, SlotValue] = field(default_factory=dict)
    because: str = "default"

    def apply(self, slots: Mapping[str, SlotValue], because: str) -> None:
        if slots:
            self.slots.update(slots)
            self.because = because


class _Planner:
    def __init__(
        self,
        model: nn.Module,
        survey: Survey,
        recipe: QuantizationRecipe | None,
        catalog: Catalog,
        ends: Mapping[str, str],
        pretrained: bool,
    ) -> None:
        self.model = model
        self.modules = {name: module for name, module in model.named_modules() if name}
        self.survey = survey
        self.recipe = recipe
        self.catalog = catalog
        self.ends = ends
        self.pretrained = pretrained
        self.faults: list[str] = []

    def plan(self) -> Plan:
        choices = self._choices(self.recipe) if self.recipe else {}
        slots = {name: self._slots(name, choice) for name, choice in choices.items()}
        if self.recipe and not self.faults:
            self._refuse_empty(slots)
        self._refuse_tied(slots)
        if self.faults:
            raise PlanError(self.faults)
        rows = [
            self._row(name, slots, choices.get(name))
            for name, module in self.modules.items()
            if isinstance(module, QUANTIZABLE) or any(slots.get(name, {}).values())
        ]
        total = sum(parameter.numel() for parameter in self.model.parameters())
        return Plan(tuple(rows), total)

    def _choices(self, recipe: QuantizationRecipe) -> dict[str, _Choice]:
        choices: dict[str, _Choice] = {}
        for name, module in self.modules.items():
            if isinstance(module, QUANTIZABLE):
                given = {key: recipe.default.get(key) for key in ("weight", "input")}
                choices[name] = _Choice(given)
            elif isinstance(module, ACTIVATIONS):
                choices[name] = _Choice({"output": recipe.default.get("output")})
        for end, name in self.ends.items():
            if name in choices:
                choices[name].apply(getattr(recipe, end), recipe.reasons.get(end, end))
                choices[name].because = recipe.reasons.get(end, choices[name].because)
            elif name:
                self.faults.append(f'{end} is said to be "{name}", which is no layer')
        for number, rule in enumerate(recipe.layers):
            self._apply_rule(number, rule, choices)
        return choices

    def _apply_rule(self, number: int, rule: Rule, choices: dict[str, _Choice]) -> None:
        assert self.recipe is not None
        matched = [name for name, module in self.modules.items() if _matches(rule, name, module)]
        inner = {key: slot for key, slot in rule.slots.items() if key != "output"}
        layers = [name for name in matched if isinstance(self.modules[name], QUANTIZABLE)]
        if not rule.optional and (not matched or (inner and not layers)):
            self.faults.append(
                f"{self.recipe.label}: /layers/{number}: no layer matches {rule}; "
                f"quantizable layers: {self._layer_names()}"
            )
        because = f"layers[{number}]: {rule}"
        for name in layers:
            choices[name].apply(inner, because)
        if "output" in rule.slots:
            for name in matched:
                output = {"output": rule.slots["output"]}
                choices.setdefault(name, _Choice()).apply(output, because)

    def _layer_names(self) -> str:
        names = [name for name, module in self.modules.items() if isinstance(module, QUANTIZABLE)]
        if len(names) > 5:
            return f"{', '.join(names[:3])}, ... {names[-1]} ({len(names)})"
        return ", ".join(names)

    def _slots(self, name: str, choice: _Choice) -> dict[str, SlotPlan | None]:
        wanted = {key: slot for key, slot in choice.slots.items() if slot is not None}
        calls = self.survey.visit(name).calls
        if wanted and not calls:
            choice.because = "never called in forward, so it stays float"
            return {}
        shared = [key for key in wanted if key != "weight" and calls > 1]
        if shared:
            self.faults.append(
                f"layer {name} is called {calls} times in one forward, so one {shared[0]} "
                f"quantizer cannot serve it; use a network that has a module for each call, "
                f'or add {{"match": "{name}", "{shared[0]}": null}} to "layers"'
            )
            return {}
        return {key: self._slot(name, key, value) for key, value in wanted.items()}

    def _slot(self, name: str, role: str, value: Mapping[str, Any]) -> SlotPlan | None:
        entry = self.catalog.quantizer(value["quantizer"])
        options = {key: part for key, part in value.items() if key != "quantizer"}
        info = self._info(name, role)
        try:
            return SlotPlan(entry, options, info, build_quantizer(entry, info, options).bits)
        except PlanError as error:
            self.faults += error.faults
            return None

    def _info(self, name: str, role: str) -> TensorInfo:
        module: Any = self.modules[name]
        visit = self.survey.visit(name)
        shapes = {"input": visit.input_shape, "output": visit.output_shape}
        shape = tuple(module.weight.shape) if role == "weight" else shapes[role]
        transposed = isinstance(module, TRANSPOSED)
        return TensorInfo(
            role=role,
            shape=shape,
            channel_axis=int(role != "weight" or transposed),
            layer=name,
            fed_by=self._type(self.survey.producers.get(name)),
            followed_by=self._type(self._follower(name)),
            nonnegative=name in self.survey.nonnegative.get(role, ()),
            pretrained=self.pretrained,
        )

    def _follower(self, name: str) -> str | None:
        """Return what takes a module's output; a norm also behind what keeps the scale."""
        follower = beyond = self.survey.consumers.get(name)
        while beyond and isinstance(self.modules[beyond], HOMOGENEOUS):
            beyond = self.survey.consumers.get(beyond)
        return beyond if beyond and "Norm" in str(self._type(beyond)) else follower

    def _type(self, name: str | None) -> str | None:
        return type(self.modules[name]).__name__ if name else None

    def _refuse_empty(self, slots: Mapping[str, Mapping[str, SlotPlan | None]]) -> None:
        """Refuse a recipe that does nothing, and a default slot that reaches no layer."""
        assert self.recipe is not None
        filled = {key for by_slot in slots.values() for key, slot in by_slot.items() if slot}
        if not filled:
            self.faults.append(f"{self.recipe.label}: quantizes nothing in this network")
        for key, slot in self.recipe.default.items():
            if slot is not None and filled and key not in filled:
                self.faults.append(
                    f"{self.recipe.label}: /default/{key}: reaches no layer of this network"
                )

    def _refuse_tied(self, slots: Mapping[str, Mapping[str, SlotPlan | None]]) -> None:
        """Refuse to quantize a weight that another module holds too, quantized or not."""
        holders: dict[int, list[str]] = {}
        for name, module in self.modules.items():
            for parameter in module.parameters(recurse=False):
                holders.setdefault(id(parameter), []).append(name)
        for name, by_slot in slots.items():
            weight: Any = self.modules[name].weight if by_slot.get("weight") else None
            others = [other for other in holders.get(id(weight), ()) if other != name]
            if others:
                self.faults.append(
                    f"layer {name} shares its weight with {', '.join(others)}, so it cannot be "
                    f'quantized; add {{"match": "{name}", "weight": null}} to "layers"'
                )

    def _row(
        self,
        name: str,
        slots: Mapping[str, Mapping[str, SlotPlan | None]],
        choice: _Choice | None,
    ) -> LayerPlan:
        module = self.modules[name]
        own = slots.get(name, {})
        weight: Any = getattr(module, "weight", None) if isinstance(module, QUANTIZABLE) else None
        feeding = own.get("input") or self._feeding(name, slots)
        return LayerPlan(
            layer=name,
            type=type(module).__name__,
            slots={key: own.get(key) for key in ("weight", "input", "output")},
            because=choice.because if choice else "no quantization recipe",
            parameters=sum(parameter.numel() for parameter in module.parameters(recurse=False)),
            weights=weight.numel() if weight is not None else 0,
            macs=self.survey.visit(name).macs,
            input_bits=feeding.bits if feeding else FLOAT_BITS,
        )

    def _feeding(
        self, name: str, slots: Mapping[str, Mapping[str, SlotPlan | None]]
    ) -> SlotPlan | None:
        """Return the last quantizer that a layer's input has passed, of a module or of a block.

        Of parts that meet in it the widest, and None where one of them is float.
        """
        before = (self.survey.producers.get(name, ""), *self.survey.visit(name).sources)
        passed = [slots.get(each, {}).get("output") for each in before]
        last = next((slot for slot in reversed(passed) if slot), None)
        parts = [slots.get(each, {}).get("output") for each in self.survey.parts.get(name, ())]
        met = [slot for slot in parts if slot]
        widest = max(met, key=lambda slot: slot.bits) if met and len(met) == len(parts) else None
        return last or widest


def _matches(rule: Rule, name: str, module: nn.Module) -> bool:
    if rule.match is not None and not fnmatchcase(name, rule.match):
        return False
    if rule.type is not None and type(module).__name__ != rule.type:
        return False
    return rule.depthwise is None or _is_depthwise(module) == rule.depthwise


def _is_depthwise(module: nn.Module) -> bool:
    groups = getattr(module, "groups", 1)
    return bool(groups > 1 and groups == getattr(module, "in_channels", 0))
