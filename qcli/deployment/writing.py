"""Write a form without ever touching what lies at its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcli.catalog.building import build_entry
from qcli.catalog.entries import ExporterEntry
from qcli.deployment.deployment import Deployment
from qcli.errors import PluginError, RunError, UsageError


def write_form(
    entry: ExporterEntry, deployment: Deployment, path: Path, options: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Write a form beside its place, and move it there when it is whole.

    Returns:
        What the exporter tells of it.

    Raises:
        UsageError: Something lies there already.
        ExportError: The form cannot hold the network.
        RunError: The folder cannot be written to.
        PluginError: The exporter wrote nothing.
    """
    require_free(path)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        told = build_entry(entry, deployment, partial, **options)
        if not partial.exists():
            raise PluginError(f'"{entry.name}" wrote nothing')
        os.replace(partial, path)
        return told or {}
    except OSError as error:
        raise _disk_error(path, error) from error
    except PluginError as error:
        # The disk is no fault of the exporter.
        if isinstance(error.__cause__, OSError):
            raise _disk_error(path, error.__cause__) from error
        raise
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _disk_error(path: Path, error: OSError) -> RunError:
    return RunError(f"{path}: {error.strerror or error}")


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
