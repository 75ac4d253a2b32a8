"""Check a JSON value against a schema, say every fault in words, and fill defaults."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from qcli.errors import suggest
from qcli.recipe.document import Document, Pointer, json_type

Schema = Mapping[str, Any]


def _is_integer(_: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# JSON Schema calls 4.0 an integer; a bit-width of 4.0 would become a float downstream.
_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


@cache
def load_schema(name: str) -> dict[str, Any]:
    """Return the core schema "training" or "quantization", with the schedule's schema in it."""
    schema = _read(name)
    schema.setdefault("$defs", {})["schedule"] = _read("schedule")
    return schema


def _read(name: str) -> dict[str, Any]:
    path = Path(__file__).parent / "schema" / f"{name}.json"
    schema: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return schema


def options_schema(options: Mapping[str, Schema], **fixed: Schema) -> dict[str, Any]:
    """Return the schema of an object that holds an entry's options.

    Args:
        options: The entry's options: JSON Schema properties.
        fixed: Properties that stand beside them, such as the entry's name.
    """
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {**fixed, **options},
        "$defs": {"schedule": load_schema("training")["$defs"]["schedule"]},
    }


def find_faults(document: Document, schema: Schema, at: Pointer = ()) -> list[str]:
    """Check the part of a document at `at`; return one line for each fault, in document order."""
    value = document.value
    for key in at:
        value = value[int(key)] if isinstance(value, list) else value[key]
    errors = _Validator(schema).iter_errors(value)
    lines = {
        _line(document, (*at, *pointer), text)
        for error in sorted(errors, key=lambda error: [str(part) for part in error.absolute_path])
        for pointer, text in _describe(error)
    }
    return sorted(lines)


def _line(document: Document, pointer: Pointer, text: str) -> str:
    return fault(document, pointer, text)


def fault(document: Document, pointer: Pointer, text: str) -> str:
    """Return the message line for one fault: where, then what."""
    label = document.where(pointer)
    return f"{label}: /{'/'.join(pointer)}: {text}" if pointer else f"{label}: {text}"


def _describe(error: ValidationError) -> Iterator[tuple[Pointer, str]]:
    pointer = tuple(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        for key in error.instance:
            if key not in known:
                yield (*pointer, key), _unknown(key, known)
    elif error.validator == "required":
        for key in error.validator_value:
            if key not in error.instance:
                yield pointer, f'"{key}" is missing{_meaning(error.schema, key)}'
    else:
        word = _WORDS.get(str(error.validator), _plain)
        yield pointer, word(error)


def _unknown(key: str, known: Mapping[str, Any]) -> str:
    allowed = ", ".join(name for name in known if name != "$schema") or "none"
    return f"unknown key{suggest(key, known)}; allowed: {allowed}"


def _meaning(schema: Schema, key: str) -> str:
    text = schema.get("properties", {}).get(key, {}).get("description", "")
    return f": {text}" if text else ""


def _found(error: ValidationError) -> str:
    text = json.dumps(error.instance)
    return text if len(text) <= 60 else json_type(error.instance)


def _type(error: ValidationError) -> str:
    wanted = error.validator_value
    names = [wanted] if isinstance(wanted, str) else wanted
    return f"found {_found(error)}, allowed: {' or '.join(names)}"


def _enum(error: ValidationError) -> str:
    allowed = [str(value) for value in error.validator_value]
    near = suggest(error.instance, allowed) if isinstance(error.instance, str) else ""
    return f"found {_found(error)}{near}, allowed: {', '.join(allowed)}"


def _bound(words: str) -> Callable[[ValidationError], str]:
    return lambda error: f"{_found(error)} is {words} {error.validator_value}"


def _plain(error: ValidationError) -> str:
    return str(error.message)


_WORDS: dict[str, Callable[[ValidationError], str]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda error: f"found {_found(error)}, allowed: {json.dumps(error.validator_value)}",
    "minimum": _bound("less than the minimum"),
    "maximum": _bound("more than the maximum"),
    "exclusiveMinimum": _bound("not more than"),
    "exclusiveMaximum": _bound("not less than"),
    "minItems": lambda error: (
        f"found {len(error.instance)} items, allowed: {error.validator_value} or more"
    ),
    "maxItems": lambda error: (
        f"found {len(error.instance)} items, allowed: {error.validator_value} at most"
    ),
    "uniqueItems": lambda error: f"found {_found(error)}, allowed: no item twice",
    "minLength": lambda error: "found an empty string",
    "pattern": lambda error: f"found {_found(error)}, allowed: {_allowed(error)}",
    "anyOf": lambda error: "says nothing: give one of " + _alternatives(error),
    "minProperties": lambda error: "found {}, allowed: one or more of " + _keys(error.schema),
    "maxProperties": lambda error: (
        f"found {', '.join(error.instance)}, allowed: one of {_keys(error.schema)}"
    ),
}


def _allowed(error: ValidationError) -> str:
    pattern = str(error.validator_value)
    if pattern.startswith("^(") and pattern.endswith(")$"):
        import re

        return re.sub(r"\([^()]*\)", "N", pattern[2:-2]).replace("|", ", ")
    return "letters, digits and . _ - after a letter or digit"


def _alternatives(error: ValidationError) -> str:
    return ", ".join(key for option in error.validator_value for key in option["required"])


def _keys(schema: Schema) -> str:
    return ", ".join(schema.get("properties", {}))


def fill_defaults(value: Any, schema: Schema, root: Schema | None = None) -> Any:
    """Return a copy of a checked value in which every absent field with a default has it."""
    root = schema if root is None else root
    schema = _resolve(schema, root)
    if isinstance(value, list):
        items = schema.get("items", {})
        return [fill_defaults(part, items, root) for part in value]
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for part in _branches(value, schema, root):
        for key, field in part.get("properties", {}).items():
            field = _resolve(field, root)
            if key not in filled and "default" in field:
                filled[key] = copy.deepcopy(field["default"])
            if key in filled:
                filled[key] = fill_defaults(filled[key], field, root)
    return filled


def _branches(value: Any, schema: Schema, root: Schema) -> Iterator[Schema]:
    """Yield the schema and those conditional parts of it that apply to the value."""
    yield schema
    for part in schema.get("allOf", ()):
        condition = {**part.get("if", {}), "$defs": root.get("$defs", {})}
        if "if" in part and _Validator(condition).is_valid(value):
            yield part["then"]


def _resolve(field: Schema, root: Schema) -> Schema:
    """Follow `$ref`; what stands beside it wins."""
    while "$ref" in field:
        target: Any = root
        for key in field["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        field = {**target, **{key: part for key, part in field.items() if key != "$ref"}}
    return field
