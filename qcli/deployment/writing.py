"""Write a form without ever touching what lies at its place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from qcli.catalog.building import build_entry
from qcli.catalog.entries import ExporterEntry
from qcli.deployment.deployment import Deployment
from qcli.errors import RunError, UsageError, suggest


def parse_options(entry: ExporterEntry, texts: Sequence[str]) -> dict[str, Any]:
    """Read NAME=VALUE options of an exporter; values are JSON, or words.

    Raises:
        UsageError: The exporter has no such option, or it does not take that value.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in entry.options:
            known = ", ".join(entry.options) or "none"
            raise UsageError(
                f"--option {text}: {entry.name} has no option {name!r}"
                f"{suggest(name, entry.options)}; it has: {known}"
            )
        found[name] = _read(value)
        _check(entry, name, found[name])
    return found


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _check(entry: ExporterEntry, name: str, value: Any) -> None:
    for error in Draft202012Validator(entry.options[name]).iter_errors(value):
        raise UsageError(f"--option {name}: {error.message}")


def write_form(
    entry: ExporterEntry, deployment: Deployment, path: Path, options: Mapping[str, Any]
) -> None:
    """Write a form beside its place, and move it there when it is whole.

    Raises:
        UsageError: Something lies there already.
        ExportError: The form cannot hold the network.
        RunError: The folder cannot be written to.
    """
    require_free(path)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        build_entry(entry, deployment, partial, **options)
        os.replace(partial, path)
    except OSError as error:
        raise RunError(f"{error.filename or path}: {error.strerror or error}") from error
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def require_free(path: Path) -> None:
    """Refuse a path where something lies.

    Raises:
        UsageError: It exists.
    """
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists; name a new path with -o, or remove it")


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
