"""The plugins that a run was made with: a run names them, and its user alone starts them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qcli.errors import PluginError, RunError


def require_plugins(run: Path, record: Mapping[str, Any], given: Sequence[str]) -> None:
    """Refuse to go on without the modules that a run was made with.

    A run directory may come from anybody. Were the modules that it names imported, it could start
    any program: they are imported where they were named on the command line, and only there.

    Args:
        run: The run directory.
        record: Its run.json.
        given: The modules that the user named.

    Raises:
        PluginError: One of the run's is not among them.
        RunError: run.json names them in no form of ours.
    """
    recorded = record["plugins"]
    if not isinstance(recorded, list) or not all(isinstance(each, str) for each in recorded):
        raise RunError(f"{run / 'run.json'} is damaged: plugins is no list of names")
    named = {module_name(each) for each in given}
    missing = [each for each in recorded if module_name(each) not in named]
    if missing:
        words = shlex.join(word for each in missing for word in ("--plugin", each))
        raise PluginError(
            f"{run} was made with plugins that are not installed. A run may come from anybody, so "
            f"code that it names is not started; if you trust this code, name it yourself: {words}"
        )


def module_name(plugin: str) -> str:
    """Return what a module is called, wherever its file lies: a run may have moved."""
    return Path(plugin).stem if plugin.endswith(".py") else plugin
