"""Rebuild the network of a run from what the run left on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from qcli.catalog.catalog import Catalog
from qcli.catalog.load import load_catalog
from qcli.errors import RunError
from qcli.quantization.plan import Plan
from qcli.recipe.setting import Request, Setting, resolve_setting
from qcli.training.assembly import assemble
from qcli.training.run_directory import RunDirectory
from qcli.training.run_plugins import require_plugins
from qcli.training.seal import is_whole


@dataclass(frozen=True)
class Revival:
    """A run's setting and network.

    Args:
        setting: What the run was made with.
        model: Quantized, with the weights asked for, on the CPU.
        plan: Which quantizer each layer has.
        record: run.json.
    """

    setting: Setting
    model: nn.Module
    plan: Plan
    record: Mapping[str, Any]


def read_setting(path: Path, catalog: Catalog) -> Setting:
    """Resolve the effective recipes of a run; it makes nobody fetch anything."""
    quantization = path / "quantization.json"
    request = Request(
        train_json=f"{path}/training.json",
        quant_json=str(quantization) if quantization.exists() else None,
    )
    setting = resolve_setting(request, catalog)
    if not setting.dataset_options.get("download"):
        return setting
    return replace(setting, dataset_options={**setting.dataset_options, "download": False})


def revive_run(path: Path, weights: str, plugins: Sequence[str] = ()) -> Revival:
    """Rebuild the network of a run.

    Args:
        path: The run directory.
        weights: "best" or "last".
        plugins: Modules to load, among them those that the run was made with.

    Raises:
        PluginError: The run was made with another module, too.
        RunError: The run is damaged, or has no such weights.
    """
    run = RunDirectory(path)
    record = run.record()
    run.require_recipes()
    require_plugins(path, record, plugins)
    catalog = load_catalog(plugins)
    setting = read_setting(path, catalog)
    assembly = assemble(setting, catalog, record["num_classes"])
    _load_weights(assembly.model, run.require(f"{weights}.safetensors"))
    return Revival(setting, assembly.model, assembly.plan, record)


def _load_weights(model: nn.Module, file: Path) -> None:
    try:
        if not is_whole(file):
            raise RunError(f"{file} is damaged: its content does not match its checksum")
        load_model(model, file)
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RunError(f"{file} is damaged or of another network: {reason}") from None


def load_run(path: str | Path, weights: str = "best", plugins: Sequence[str] = ()) -> nn.Module:
    """Rebuild the network of a run, in eval mode, on the CPU.

    Args:
        path: The run directory.
        weights: "best" or "last".
        plugins: The modules or .py files that it was trained with, as given with `--plugin`.

    Raises:
        PluginError: The run was made with another module, too.
        RunError: The run is damaged or has no such weights.
    """
    return revive_run(Path(path), weights, plugins).model.eval()
