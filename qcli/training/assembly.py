"""Build the network of a setting: float, with loaded weights, planned, quantized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from qcli.catalog.building import build_entry
from qcli.catalog.catalog import Catalog
from qcli.errors import PluginError, UsageError
from qcli.quantization.plan import Plan
from qcli.quantization.planner import make_plan
from qcli.quantization.surgery import quantize, quantizers
from qcli.recipe.setting import Setting


@dataclass(frozen=True)
class Assembly:
    """A network, quantized as planned.

    Args:
        model: On the CPU; inputs and outputs are not calibrated.
        plan: What was done to it.
        notes: What the user should know.
    """

    model: nn.Module
    plan: Plan
    notes: tuple[str, ...] = ()


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
    """Plan the quantization of a setting's float network."""
    return make_plan(
        model,
        setting.quantization,
        setting.image_shape,
        catalog=catalog,
        first_layer=setting.architecture.first_layer,
        last_layer=setting.architecture.last_layer,
        pretrained=pretrained,
    )


def assemble(
    setting: Setting, catalog: Catalog, num_classes: int, init_from: Path | None = None
) -> Assembly:
    """Build, load, plan and quantize a network.

    Weights of a float network load before it is quantized. Those of a quantized run load after,
    and only new quantizers may be missing in them.

    Args:
        setting: What to build.
        catalog: Where plugins are found.
        num_classes: Of the data set.
        init_from: A run directory or a weights file; None: from scratch.
    """
    model = build_float_model(setting, num_classes)
    if setting.training and setting.training.channels_last:
        # Before quantizing: torch refuses the 5-d logits of search.
        model = model.to(memory_format=torch.channels_last)
    state = read_weights(init_from) if init_from else None
    holds_latents = state is not None and any("parametrizations" in name for name in state)
    if state is not None and not holds_latents:
        _load_float(model, state, str(init_from))
    plan = plan_setting(setting, model, catalog, pretrained=state is not None)
    quantize(model, plan)
    notes: tuple[str, ...] = ()
    if state is not None and holds_latents:
        notes = _load_quantized(model, state, str(init_from))
    return Assembly(model, plan, notes)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a run directory, a .safetensors file, or a torch file.

    Torch files load with `weights_only`, so that they cannot execute code.

    Raises:
        UsageError: It is missing, damaged, or holds no state dict.
    """
    file = path / "best.safetensors" if path.is_dir() else path
    if not file.exists():
        raise UsageError(f"--init-from {path}: {file} does not exist")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state: Any = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"--init-from {path}: {file} cannot be read: {reason}") from None
    except Exception as error:
        raise UsageError(
            f"--init-from {path}: {file} holds more than weights ({type(error).__name__}); "
            "save the state dict alone"
        ) from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not (isinstance(state, dict) and all(isinstance(part, Tensor) for part in state.values())):
        raise UsageError(f"--init-from {path}: {file} holds no state dict")
    return state


def _load_float(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise UsageError(f"--init-from {source}: does not fit the network: {error}") from None


def _load_quantized(model: nn.Module, state: Mapping[str, Tensor], source: str) -> tuple[str, ...]:
    """Load a quantized run; quantizers that it does not have keep their start."""
    own = model.state_dict()
    fresh = {
        (
            f"{layer}.{slot}_quantizer."
            if slot != "weight"
            else f"{layer}.parametrizations.weight.0."
        )
        for layer, slot, _ in quantizers(model)
    }
    missing = [name for name in own if name not in state]
    lost = [name for name in missing if not name.startswith(tuple(fresh))]
    extra = [name for name in state if name not in own]
    shapes = [
        f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if lost or extra or shapes:
        parts = [*lost[:3], *extra[:3], *shapes[:3]]
        raise UsageError(
            f"--init-from {source}: its quantized weights do not fit this recipe: "
            f"{', '.join(parts)}; start from a float run, or quantize its layers alike"
        )
    model.load_state_dict(state, strict=False)
    return (f"{len(missing)} values of new quantizers start fresh",) if missing else ()
