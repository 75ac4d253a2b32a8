"""Build the network of a setting: float, with loaded weights, planned, quantized."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from qcli.catalog.building import build_entry
from qcli.catalog.catalog import Catalog
from qcli.errors import PluginError, UsageError
from qcli.quantization.plan import Plan
from qcli.quantization.planner import make_plan
from qcli.quantization.quantizer import Quantizer
from qcli.quantization.surgery import quantize, quantizers
from qcli.recipe.setting import Setting
from qcli.training.initial_weights import read_weights
from qcli.training.initialization import initialize


@dataclass(frozen=True)
class Assembly:
    """A network, quantized as planned.

    Args:
        model: On the CPU; inputs and outputs are not calibrated.
        plan: What was done to it.
        fresh: The quantizers whose state was not loaded.
    """

    model: nn.Module
    plan: Plan
    fresh: tuple[Quantizer, ...]


def build_float_model(setting: Setting, num_classes: int | None = None) -> nn.Module:
    """Build the float network of a setting, on the current default device.

    Raises:
        PluginError: The architecture's plugin returns no Module.
        UsageError: The network does not fit the images.
    """
    entry = setting.architecture
    count = num_classes or (setting.dataset and setting.dataset.num_classes)
    count = count or entry.default_num_classes
    try:
        model = build_entry(entry, count, setting.image_shape, **setting.architecture_options)
    except ValueError as error:
        raise UsageError(f"{setting.architecture_name}: {error}") from error
    if not isinstance(model, nn.Module):
        raise PluginError(f'"{entry.name}" builds a {type(model).__name__}, not a torch Module')
    return model


def plan_setting(
    setting: Setting, model: nn.Module, catalog: Catalog, *, pretrained: bool = False
) -> Plan:
    """Plan the quantization of a setting's float network.

    Args:
        setting: What to plan.
        model: Its float network.
        catalog: Where quantizers are found.
        pretrained: Whether trained weights were loaded into it; it may also bring its own.
    """
    return make_plan(
        model,
        setting.quantization,
        setting.image_shape,
        catalog=catalog,
        first_layer=setting.architecture.first_layer,
        last_layer=setting.architecture.last_layer,
        pretrained=pretrained or setting.starts_trained,
    )


def assemble(
    setting: Setting, catalog: Catalog, num_classes: int | None, init_from: Path | None = None
) -> Assembly:
    """Build, load, plan and quantize a network.

    Weights of a float network load before it is quantized. Those of a quantized run load after,
    and only new quantizers may be missing in them.

    Args:
        setting: What to build.
        catalog: Where plugins are found.
        num_classes: Of the data set; None: those that the setting tells.
        init_from: A run directory or a weights file; None: from scratch.
    """
    model = build_float_model(setting, num_classes)
    if setting.training:
        initialize(model, setting.training.initialization, setting.training.seed)
    if setting.training and setting.training.channels_last:
        # Before quantizing: torch refuses the 5-d logits of search.
        model = model.to(memory_format=torch.channels_last)
    weights = read_weights(init_from) if init_from else None
    if weights and not weights.is_quantized:
        weights.load_float(model)
    plan = plan_setting(setting, model, catalog, pretrained=weights is not None)
    quantize(model, plan)
    fresh = tuple(quantizer for _, _, quantizer in quantizers(model))
    if weights and weights.is_quantized:
        fresh = tuple(weights.load_quantized(model, plan))
    return Assembly(model, plan, fresh)
