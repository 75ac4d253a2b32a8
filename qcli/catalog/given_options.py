"""Options of an exporter, as they are typed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from jsonschema import Draft202012Validator

from qcli.catalog.entries import ExporterEntry
from qcli.errors import UsageError, suggest


def parse_options(entry: ExporterEntry, texts: Sequence[str]) -> dict[str, Any]:
    """Read NAME=VALUE options of an exporter, beside its defaults; values are JSON, or words.

    Raises:
        UsageError: The exporter has no such option, or it does not take that value.
    """
    found = {name: schema["default"] for name, schema in entry.options.items()}
    for text in texts:
        name, equals, value = text.partition("=")
        if name in entry.options and not equals:
            raise UsageError(f"--option {text}: write {name}=VALUE; see `qcli show {entry.name}`")
        if name not in entry.options:
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
