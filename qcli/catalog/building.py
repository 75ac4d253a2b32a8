"""Build what an entry offers; what breaks in a plugin is told as the plugin's fault."""

from __future__ import annotations

from typing import Any

from qcli.catalog.catalog import Entry, resolve_build
from qcli.errors import PluginError, QcliError


def build_entry(entry: Entry, *arguments: Any, **options: Any) -> Any:
    """Call an entry's `build`.

    Raises:
        ValueError: The plugin refuses these arguments, in words of its own.
        PluginError: The plugin cannot be imported, or breaks.
    """
    build = resolve_build(entry.build, entry.name)
    try:
        return build(*arguments, **options)
    except (QcliError, ValueError, MemoryError):
        raise
    except Exception as error:
        raise PluginError(
            f'"{entry.name}" broke while it was built: {type(error).__name__}: {error}; '
            "--debug shows where"
        ) from error
