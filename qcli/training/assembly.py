"""Build the network of a setting: float, with loaded weights, planned, quantized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from qcli.quantization.surgery import INPUT, OUTPUT, latents, quantize, quantizers
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
    is_quantized = state is not None and any(_is_of_quantizer(name) for name in state)
    if state is not None and not is_quantized:
        _load_float(model, state, str(init_from))
    plan = plan_setting(setting, model, catalog, pretrained=state is not None)
    quantize(model, plan)
    notes: tuple[str, ...] = ()
    if state is not None and is_quantized:
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
            f"--init-from {path}: {file} is damaged or holds more than weights "
            f"({type(error).__name__}); save the state dict alone"
        ) from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not (isinstance(state, dict) and all(map(_is_entry, state.items()))):
        raise UsageError(f"--init-from {path}: {file} holds no state dict")
    return state


def _is_entry(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _is_of_quantizer(name: str) -> bool:
    return bool({"parametrizations", INPUT, OUTPUT} & set(name.split(".")))


def _load_float(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError:
        own = model.state_dict()
        faults = _find_faults(own, state, [name for name in own if name not in state])
        raise UsageError(
            f"--init-from {source}: does not fit the network: {', '.join(faults)}"
        ) from None


def _load_quantized(model: nn.Module, state: Mapping[str, Tensor], source: str) -> tuple[str, ...]:
    """Load a quantized run; quantizers that it does not have keep their start."""
    own = model.state_dict()
    prefixes = {_prefix(layer, slot): quantizer for layer, slot, quantizer in quantizers(model)}
    missing = [name for name in own if name not in state]
    lost = [name for name in missing if not name.startswith(tuple(prefixes))]
    faults = _find_faults(own, state, lost)
    if faults:
        raise UsageError(
            f"--init-from {source}: its quantized weights do not fit this recipe: "
            f"{', '.join(faults)}; start from a float run, or quantize its layers alike"
        )
    model.load_state_dict(state, strict=False)
    latent_of = latents(model)
    for prefix, quantizer in prefixes.items():
        latent = latent_of.get(quantizer)
        is_new = not any(name.startswith(prefix) for name in state)
        if is_new and latent is not None and latent.shape == quantizer.info.shape:
            # What it observed were the random weights that it was built on.
            quantizer.observe(latent.detach())
    return (f"{len(missing)} values of new quantizers start fresh",) if missing else ()


def _prefix(layer: str, slot: str) -> str:
    return (
        f"{layer}.parametrizations.weight.0." if slot == "weight" else f"{layer}.{slot}_quantizer."
    )


def _find_faults(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], lost: Sequence[str]
) -> list[str]:
    """Return in words what is missing, unknown or of another shape, three of each at most."""
    shapes = [
        f"{name} is {list(state[name].shape)} instead of {list(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    extra = [name for name in state if name not in own]
    return [
        *(f"{name} is missing" for name in lost[:3]),
        *(f"{name} is unknown" for name in extra[:3]),
        *shapes[:3],
    ]
