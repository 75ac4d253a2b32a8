"""Check what a plugin hands over before anything relies on it."""

from __future__ import annotations

import re
from typing import Any

from qcli.catalog.entries import SLOTS, QuantizerEntry

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*:?")


def check_entry(entry: Any, kind: type, hook: str) -> None:
    """Check one record of a plugin.

    Raises:
        TypeError: It is of another kind than its hook returns.
        ValueError: Its name, its slots or its options are malformed.
    """
    if not isinstance(entry, kind):
        raise TypeError(f"{hook} returned {type(entry).__name__}, allowed: {kind.__name__}")
    record: Any = entry
    if not isinstance(record.name, str) or not _NAME.fullmatch(record.name):
        raise ValueError(
            f"{hook}: the name {record.name!r} is not lower-case letters, digits, _ . -"
        )
    if not (isinstance(record.build, str) and ":" in record.build) and not callable(record.build):
        raise ValueError(f'{record.name}: build is neither "module:name" nor callable')
    for option, schema in record.options.items():
        missing = [key for key in ("description", "default") if key not in schema]
        if missing:
            raise ValueError(f"{record.name}: option {option} has no {' and no '.join(missing)}")
    if isinstance(record, QuantizerEntry) and not record.quantizes <= set(SLOTS):
        raise ValueError(f"{record.name}: quantizes names a slot beside {', '.join(SLOTS)}")
