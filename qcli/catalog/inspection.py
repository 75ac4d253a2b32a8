"""Check what a plugin hands over before anything relies on it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator, SchemaError

from qcli.catalog.entries import (
    SLOTS,
    ArchitectureEntry,
    DatasetEntry,
    ExporterEntry,
    HealthCheckEntry,
    QuantizerEntry,
)

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
# The names that `build` is given, or that stand beside the options in a recipe.
_TAKEN = {
    QuantizerEntry: {"quantizer", "info"},
    ArchitectureEntry: {"name", "num_classes", "image_shape", "member"},
    DatasetEntry: {"name", "root", "image_shape", "image_size", "channels"},
    ExporterEntry: {"format", "deployment", "path"},
}
_MAY_BE_LEFT_OUT = {"find_member", "execute", "read"}


def check_entry(entry: Any, kind: type, hook: str) -> None:
    """Check one record of a plugin.

    Raises:
        TypeError: It is of another kind than its hook returns.
        ValueError: One of its fields is malformed.
    """
    if not isinstance(entry, kind):
        raise TypeError(f"{hook} returned {type(entry).__name__}, allowed: {kind.__name__}")
    record: Any = entry
    _check_name(record, kind, hook)
    if isinstance(record, HealthCheckEntry):
        _check_health_check(record)
        return
    for field in ("summary", "source"):
        if not isinstance(getattr(record, field), str):
            raise ValueError(f"{record.name}: {field} is no string")
    _check_builds(record)
    _check_options(record, kind)
    if isinstance(record, QuantizerEntry):
        _check_slots(record)
    elif isinstance(record, ExporterEntry):
        _check_suffix(record)
    else:
        _check_shape(record)
    if isinstance(record, DatasetEntry):
        _check_checksums(record)


def _check_health_check(record: HealthCheckEntry) -> None:
    if not isinstance(record.summary, str):
        raise ValueError(f"{record.name}: summary is no string")
    if not (callable(record.check) or (isinstance(record.check, str) and ":" in record.check)):
        raise ValueError(f'{record.name}: check is neither "module:name" nor callable')


def _check_builds(record: Any) -> None:
    for field in ("build", "find_member", "execute", "read"):
        build = getattr(record, field, None)
        is_left_out = build is None and field in _MAY_BE_LEFT_OUT
        if not (is_left_out or callable(build) or (isinstance(build, str) and ":" in build)):
            raise ValueError(f'{record.name}: {field} is neither "module:name" nor callable')


def _check_name(record: Any, kind: type, hook: str) -> None:
    """A name that ends with a colon is a family of architectures."""
    name = record.name
    if isinstance(name, str) and kind is ArchitectureEntry:
        name = name.removesuffix(":")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{hook}: the name {record.name!r} is not lower-case letters, digits, _ . -"
        )


def _check_options(record: Any, kind: type) -> None:
    for option, schema in record.options.items():
        if not option.isidentifier() or option in _TAKEN[kind]:
            raise ValueError(f"{record.name}: option {option!r} is taken, or no Python name")
        if not isinstance(schema, Mapping):
            raise ValueError(f"{record.name}: option {option} is no JSON Schema")
        missing = [key for key in ("description", "default") if key not in schema]
        if missing:
            raise ValueError(f"{record.name}: option {option} has no {' and no '.join(missing)}")
        try:
            json.dumps(schema)
            Draft202012Validator.check_schema(schema)
        except TypeError as error:
            raise ValueError(f"{record.name}: option {option} is not JSON: {error}") from None
        except SchemaError as error:
            raise ValueError(
                f"{record.name}: option {option} is no JSON Schema: {error.message}"
            ) from None


def _check_slots(record: QuantizerEntry) -> None:
    slots = record.quantizes
    if not isinstance(slots, frozenset | set) or not slots or not slots <= set(SLOTS):
        raise ValueError(f"{record.name}: quantizes is no set of {', '.join(SLOTS)}")


def _check_suffix(record: ExporterEntry) -> None:
    if not re.fullmatch(r"|\.[A-Za-z0-9_.-]+", str(record.suffix)):
        raise ValueError(f"{record.name}: the suffix {record.suffix!r} is no file name's end")


def _check_shape(record: Any) -> None:
    is_dataset = isinstance(record, DatasetEntry)
    shape = record.image_shape if is_dataset else record.default_image_shape
    if shape is None and is_dataset:
        return
    if not (
        isinstance(shape, tuple) and len(shape) == 3 and all(isinstance(n, int) for n in shape)
    ):
        raise ValueError(f"{record.name}: the image shape {shape!r} is not (C, H, W)")


def _check_checksums(record: DatasetEntry) -> None:
    for path, checksum in record.checksums.items():
        if not re.fullmatch("[0-9a-f]{32}", checksum):
            raise ValueError(f"{record.name}: the checksum of {path} is no MD5 in hexadecimal")
