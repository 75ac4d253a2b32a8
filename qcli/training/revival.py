"""Rebuild the network of a run from what the run left on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """Resolve the effective recipes of a run."""
    quantization = path / "quantization.json"
    request = Request(
        train_json=f"{path}/training.json",
        quant_json=str(quantization) if quantization.exists() else None,
    )
    return resolve_setting(request, catalog)


def revive_run(path: Path, weights: str, plugins: Sequence[str] = ()) -> Revival:
    """Rebuild the network of a run.

    Args:
        path: The run directory.
        weights: "best" or "last".
        plugins: Modules to load beside those that the run used.

    Raises:
        RunError: The run is damaged, or has no such weights.
    """
    run = RunDirectory(path)
    record = run.record()
    run.require_recipes()
    catalog = load_catalog((*record.get("plugins", ()), *plugins))
    setting = read_setting(path, catalog)
    assembly = assemble(setting, catalog, record["num_classes"])
    file = run.require(f"{weights}.safetensors")
    try:
        load_model(assembly.model, file)
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RunError(f"{file} is damaged or of another network: {reason}") from None
    return Revival(setting, assembly.model, assembly.plan, record)


def load_run(path: str | Path, weights: str = "best") -> nn.Module:
    """Rebuild the network of a run, in eval mode, on the CPU.

    Args:
        path: The run directory.
        weights: "best" or "last".

    Raises:
        RunError: The run is damaged or has no such weights.
    """
    return revive_run(Path(path), weights).model.eval()
