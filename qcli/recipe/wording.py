"""The validator's faults in words: what was found, what is allowed, what to type."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jsonschema import ValidationError

from qcli.errors import suggest
from qcli.recipe.document import Pointer, json_type, parse_json
from qcli.recipe.reference import Schema, resolve_reference

LONGEST_SHOWN = 60
MOST_KEYS_BESIDE_A_NEAR_ONE = 10
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]*$"

_TYPES = {
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "boolean": "true, false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_BOUNDS = (
    ("minimum", "from"),
    ("exclusiveMinimum", "above"),
    ("maximum", "to"),
    ("exclusiveMaximum", "below"),
)


def describe(error: ValidationError, root: Schema) -> Iterator[tuple[Pointer, str]]:
    """Yield the faults of one validation error: a pointer below the checked part, and words.

    Args:
        error: What the validator found.
        root: The schema that it checked against.
    """
    pointer = tuple(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        for key in error.instance:
            if key not in known:
                yield (*pointer, key), _unknown(key, known)
    elif error.validator == "required":
        for key in error.validator_value:
            if key not in error.instance:
                yield pointer, f'"{key}" is missing{_meaning(error.schema, key, root)}'
    else:
        yield pointer, _WORDS.get(str(error.validator), _plain)(error)


def allowed_values(schema: Schema) -> str:
    """Say what a schema allows: its choices, or its types with their bounds."""
    if "enum" in schema:
        return ", ".join(_bare(value) for value in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "$ref" in schema:
        kind = schema["$ref"].rpartition("/")[2].replace("_", " ")
        number = _type_words("number", schema)
        return f"{number} or a schedule" if kind == "schedule" else f"a {kind}"
    types = schema.get("type", ())
    names = [types] if isinstance(types, str) else list(types)
    words = ", ".join(_type_words(name, schema) for name in names)
    return " or ".join(words.rsplit(", ", 1)) or "what `qcli schema` says"


def _type_words(name: str, schema: Schema) -> str:
    words = _TYPES[name]
    if name in ("integer", "number"):
        bounds = [f"{word} {schema[key]}" for key, word in _BOUNDS if key in schema]
        text = " ".join([words, *bounds])
        return text.replace(" below", " to below") if len(bounds) > 1 else text
    if name == "object" and schema.get("required"):
        return f"{words} with {' and '.join(json.dumps(key) for key in schema['required'])}"
    if name == "object" and schema.get("maxProperties") == 1:
        return f"{words} with one of {' / '.join(schema['properties'])}"
    return words


def _bare(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _unknown(key: str, known: Mapping[str, Any]) -> str:
    near = suggest(key, known)
    if near and len(known) > MOST_KEYS_BESIDE_A_NEAR_ONE:
        return f"unknown key{near}"
    allowed = ", ".join(name for name in known if name != "$schema") or "none"
    return f"unknown key{near}; allowed: {allowed}"


def _meaning(schema: Schema, key: str, root: Schema) -> str:
    """Say what a missing key is for, and its choices."""
    field = resolve_reference(schema.get("properties", {}).get(key, {}), root)
    text = f": {field['description']}" if "description" in field else ""
    return f"{text} Allowed: {allowed_values(field)}" if text and "enum" in field else text


def _found(error: ValidationError) -> str:
    text = json.dumps(error.instance)
    return text if len(text) <= LONGEST_SHOWN else json_type(error.instance)


def _type(error: ValidationError) -> str:
    hint = _hint(error.instance, error.schema)
    return f"found {_found(error)}, allowed: {allowed_values(error.schema)}{hint}"


def _hint(instance: Any, schema: Schema) -> str:
    """Say what to type where a value of another type tells what was meant."""
    types = schema["type"]
    if isinstance(instance, float) and "integer" in types and instance.is_integer():
        return f"; write {int(instance)}"
    if not isinstance(instance, str) or len(instance) > LONGEST_SHOWN:
        return ""
    if _is_quoted(instance, types):
        return f"; write {instance} without quotes"
    required = schema.get("required", ())
    if "object" in types and len(required) == 1:
        field = schema.get("properties", {}).get(required[0], {})
        if instance in field.get("enum", [instance]):
            return f"; write {json.dumps({required[0]: instance})}"
    return ""


def _is_quoted(text: str, types: str | list[str]) -> bool:
    """Say whether a string holds JSON that would be allowed."""
    try:
        value = parse_json(text)
    except (ValueError, RecursionError):
        return False
    kinds: dict[type, tuple[str, ...]] = {
        bool: ("boolean",),
        int: ("integer", "number"),
        float: ("number",),
        list: ("array",),
        dict: ("object",),
        type(None): ("null",),
    }
    return any(kind in types for kind in kinds.get(type(value), ()))


def _enum(error: ValidationError) -> str:
    allowed = [_bare(value) for value in error.validator_value]
    words = f"allowed: {', '.join(allowed)}"
    if error.instance in allowed:
        return f"found {_found(error)}, {words}; write {error.instance} without quotes"
    near = suggest(error.instance, allowed) if isinstance(error.instance, str) else ""
    return f"found {_found(error)}{near}, {words}"


def _bound(words: str) -> Callable[[ValidationError], str]:
    return lambda error: f"{_found(error)} is {words} {error.validator_value}"


def _outside(error: ValidationError) -> str:
    return f"found {_found(error)}, allowed: {allowed_values(error.schema)}"


def _items(error: ValidationError) -> str:
    count, schema = len(error.instance), error.schema
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    allowed = f"{least} or more" if most is None else f"{least} to {most}"
    allowed = str(least) if least == most else allowed
    return f"found {count} item{'s' * (count != 1)}, allowed: {allowed}"


def _pattern(error: ValidationError) -> str:
    pattern = str(error.validator_value)
    near = ""
    if pattern == NAME_PATTERN:
        allowed = "letters, digits and . _ - after a letter or digit"
    elif pattern.startswith("^(") and pattern.endswith(")$"):
        # Alternatives, in which an inner group stands for a number.
        names = re.sub(r"\([^()]*\)", "N", pattern[2:-2]).split("|")
        near, allowed = suggest(error.instance, names), ", ".join(names)
    else:
        allowed = f"what fits {pattern}"
    return f"found {_found(error)}{near}, allowed: {allowed}"


def _any_of(error: ValidationError) -> str:
    options = error.validator_value
    if all("required" in option for option in options):
        keys = ", ".join(key for option in options for key in option["required"])
        return f"says nothing: give one of {keys}"
    return f"found {_found(error)}, allowed: {' or '.join(map(allowed_values, options))}"


def _keys(schema: Schema) -> str:
    return ", ".join(schema.get("properties", {}))


def _plain(error: ValidationError) -> str:
    return str(error.message)


_WORDS: dict[str, Callable[[ValidationError], str]] = {
    "type": _type,
    "enum": _enum,
    "const": lambda error: f"found {_found(error)}, allowed: {json.dumps(error.validator_value)}",
    "minimum": _bound("less than the minimum"),
    "maximum": _bound("more than the maximum"),
    "exclusiveMinimum": _outside,
    "exclusiveMaximum": _outside,
    "minItems": _items,
    "maxItems": _items,
    "uniqueItems": lambda error: f"found {_found(error)}, allowed: no item twice",
    "minLength": lambda error: (
        f"found {_found(error)}, allowed: {error.validator_value} or more characters"
    ),
    "maxLength": lambda error: (
        f"found {len(error.instance)} characters, allowed: {error.validator_value} at most"
    ),
    "pattern": _pattern,
    "anyOf": _any_of,
    "oneOf": _any_of,
    "minProperties": lambda error: f"found {{}}, allowed: one of {_keys(error.schema)}",
    "maxProperties": lambda error: (
        f"found {', '.join(error.instance)}, allowed: one of {_keys(error.schema)}"
    ),
}
