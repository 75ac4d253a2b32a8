"""Whether `accelerate launch` would start what fits this machine; accelerate is not imported."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qcli.catalog.entries import HealthFinding, HealthRequest
from qcli.doctor.cuda import count_gpus

# Set by a launcher for the processes that it starts; left in a shell, they mislead a plain command.
RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def check_launch(request: HealthRequest) -> Iterator[HealthFinding]:
    """Read accelerate's configuration and the environment."""
    if ranks := [name for name in RANKS if name in os.environ]:
        told = f"{', '.join(ranks)} set in this shell: every qcli waits for other processes"
        yield HealthFinding("warning", told, f"unset {' '.join(ranks)}")
    path = config_path(os.environ)
    if not path.exists():
        yield HealthFinding("ok", "no configuration of accelerate: its options say what it starts")
        return
    remove = f"rm {shlex.quote(str(path))}"
    try:
        config = read_config(path)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        yield HealthFinding("warning", f"{path} cannot be read: {reason}", remove)
        return
    yield from find_launch(config, path, count_gpus())


def config_path(environment: Mapping[str, str]) -> Path:
    """Return where `accelerate config` writes."""
    home = Path(environment.get("HOME", str(Path.home())))
    cache = Path(environment.get("XDG_CACHE_HOME", home / ".cache"))
    folder = Path(environment.get("HF_HOME", cache / "huggingface")).expanduser() / "accelerate"
    json = folder / "default_config.json"
    return json if json.exists() else folder / "default_config.yaml"


def read_config(path: Path) -> Mapping[str, Any]:
    """Read a configuration.

    Raises:
        ValueError: It is no mapping, or no YAML.
    """
    # accelerate depends on it; JSON is YAML.
    import yaml

    config = yaml.safe_load(path.read_text("utf-8"))
    if not isinstance(config, dict):
        raise ValueError("it holds no fields")
    return config


def find_launch(config: Mapping[str, Any], path: Path, gpus: int) -> Iterator[HealthFinding]:
    """Say what a configuration starts on a machine with so many GPUs."""
    kind = str(config.get("distributed_type", "NO"))
    machines, processes = (config.get(key) or 1 for key in ("num_machines", "num_processes"))
    alone = "accelerate launch --num_processes 1 --num_machines 1 -m qcli train"
    remove = f"rm {shlex.quote(str(path))}"
    if machines != 1:
        told = f"{path}: a launch waits for {machines} machines"
        yield HealthFinding("warning", told, alone)
    elif kind in ("FSDP", "DEEPSPEED", "MEGATRON_LM", "TP"):
        told = f"{path}: {kind} shards networks, which qcli does not support"
        yield HealthFinding("warning", told, remove)
    elif kind == "MULTI_GPU" and not config.get("use_cpu") and processes > gpus:
        told = f"{path}: a launch starts {processes} processes with a GPU each; here are {gpus}"
        yield HealthFinding("warning", told, f"accelerate launch --num_processes {max(gpus, 1)}")
    elif processes != 1:
        told = f"{path}: a launch starts {processes} processes; plain `qcli train` starts one"
        yield HealthFinding("note", told, alone)
    else:
        yield HealthFinding("ok", f"{path}: a launch starts one process")
