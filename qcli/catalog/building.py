"""Build what an entry offers; what breaks in a plugin is told as the plugin's fault."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qcli.catalog.catalog import Entry, resolve_build
from qcli.catalog.entries import ArchitectureEntry, Member
from qcli.errors import PluginError, QcliError, UsageError


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


def settle_member(
    entry: ArchitectureEntry, member: str | None
) -> tuple[ArchitectureEntry, str | None]:
    """Return a family's entry with what is known of one member, and the member's full name.

    Raises:
        UsageError: The family has no such member.
        PluginError: The plugin cannot be imported, or breaks.
    """
    if member is None or entry.find_member is None:
        return entry, member
    try:
        found = build_entry(replace(entry, build=entry.find_member), member)
    except ValueError as error:
        raise UsageError(f"{entry.name}{member}: {error}") from error
    if not isinstance(found, Member):
        raise PluginError(f'"{entry.name}" finds a {type(found).__name__}, not a qcli.Member')
    settled = replace(
        entry, default_num_classes=found.num_classes, default_image_shape=found.image_shape
    )
    return settled, found.name
