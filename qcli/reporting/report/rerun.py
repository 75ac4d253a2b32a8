"""Everything that is needed to run it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from qcli.reporting.report.table import write_count, write_text
from qcli.training.run_account import is_number

if TYPE_CHECKING:
    from qcli.training.run_account import RunAccount


@dataclass(frozen=True)
class Rerun:
    """How to run it again.

    Args:
        commands: What to type, each with what it does.
        facts: Hardware, seed, commit, versions.
        recipes: The effective recipes in full, by name.
    """

    commands: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    recipes: tuple[tuple[str, str], ...]


def tell_rerun(account: RunAccount) -> Rerun:
    """Return what a run says of how it was made."""
    commands = [
        ("what was typed", _typed(account.record)),
        ("the same, from what the run keeps", _kept(account)),
        ("measure it again", shlex.join(["qcli", "eval", str(account.path)])),
    ]
    names = ("training", "quantization")
    recipes = {name: getattr(account, name) for name in names if getattr(account, name)}
    return Rerun(
        tuple((told, text) for told, text in commands if text),
        tuple((name, text) for name, text in _facts(account).items() if text),
        tuple((f"{name}.json", _write(value)) for name, value in recipes.items()),
    )


def _typed(record: Mapping[str, Any]) -> str:
    argv = record.get("argv")
    if not isinstance(argv, list) or not argv:
        return ""
    words = [str(word) for word in argv]
    return shlex.join([PurePath(words[0]).name, *words[1:]])


def _kept(account: RunAccount) -> str:
    if not account.training:
        return ""
    record = account.record
    words = ["qcli", "train", "--train-json", str(account.path / "training.json")]
    if account.quantization:
        words += ["--quant-json", str(account.path / "quantization.json")]
    for option, key in (
        ("-p", "data_root"),
        ("--init-from", "init_from"),
        ("--teacher", "teacher"),
    ):
        if isinstance(record.get(key), str):
            words += [option, record[key]]
    plugins = record.get("plugins")
    for plugin in plugins if isinstance(plugins, list) else []:
        words += ["--plugin", str(plugin)]
    if record.get("cpu") is True:
        words.append("--cpu")
    return shlex.join(words)


def _facts(account: RunAccount) -> dict[str, str]:
    record = account.record
    processes = record.get("num_processes")
    versions = record.get("versions")
    versions = versions if isinstance(versions, dict) else {}
    return {
        "seed": str(account.training.get("seed", "")),
        "device": write_text(record.get("device")),
        "processes": write_count(processes),
        "threads": write_count(record.get("threads")),
        "compiled": "yes" if record.get("compiled") is True else "no",
        "started": write_text(record.get("started")),
        "ended": write_text(record.get("ended")),
        "git commit": write_text(record.get("git_commit")),
        "recipes, SHA-256": write_text(record.get("recipes_sha256")),
        "batch for each process": _share(account.training.get("batch_size"), processes),
        **{f"version of {name}": str(version) for name, version in versions.items()},
    }


def _share(batch: Any, processes: Any) -> str:
    if not (is_number(batch) and is_number(processes)) or processes < 2:
        return ""
    return f"{batch / processes:g}"


def _write(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
