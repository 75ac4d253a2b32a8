"""Check a JSON value against a schema, tell every fault with its place, and fill defaults."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from qcli.recipe.document import Document, Pointer
from qcli.recipe.reference import Schema, resolve_reference
from qcli.recipe.value_space import expand_value_space
from qcli.recipe.wording import describe

# What every schema may refer to, those of plugins' options included.
SHARED = ("schedule", "transform", "value_space")


def _is_integer(_: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _expands(validator: Any, _: Any, space: Any, schema: Schema) -> Iterator[ValidationError]:
    """Check what JSON Schema cannot say of a value space that is otherwise right."""
    rest = {key: part for key, part in schema.items() if key != "valueSpace"}
    if validator.evolve(schema=rest).is_valid(space):
        try:
            expand_value_space(space)
        except ValueError as error:
            yield ValidationError(str(error))


# JSON Schema calls 4.0 an integer; a bit-width of 4.0 would become a float downstream.
_Validator = extend(
    Draft202012Validator,
    {"valueSpace": _expands},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


@cache
def load_schema(name: str) -> dict[str, Any]:
    """Return the core schema "training" or "quantization", with the shared schemas in it."""
    schema = _read(name)
    schema.setdefault("$defs", {}).update({part: _read(part) for part in SHARED})
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
    shared = load_schema("training")["$defs"]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {**fixed, **options},
        "$defs": {part: shared[part] for part in SHARED},
    }


def find_faults(document: Document, schema: Schema, at: Pointer = ()) -> list[str]:
    """Check the part of a document at `at`; return one line for each fault, in document order."""
    value = part_at(document.value, at)
    faults = [
        ((*at, *pointer), text)
        for error in _Validator(schema).iter_errors(value)
        for pointer, text in describe(error, schema)
    ]
    faults.sort(key=lambda found: _position(document.value, found[0]))
    # A part may be wrong in the same way for two parts of a schema.
    return list(dict.fromkeys(fault(document, pointer, text) for pointer, text in faults))


def part_at(value: Any, pointer: Pointer) -> Any:
    """Return the part of a JSON value at a pointer."""
    for key in pointer:
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def _position(value: Any, pointer: Pointer) -> list[int]:
    """Return where a part stands among its neighbours, level by level."""
    places = []
    for key in pointer:
        places.append(int(key) if isinstance(value, list) else list(value).index(key))
        value = part_at(value, (key,))
    return places


def fault(document: Document, pointer: Pointer, text: str) -> str:
    """Return the message line for one fault: where, then what."""
    place = spell_pointer(pointer)
    return ": ".join([document.where(pointer), *([place] if place else []), text])


def spell_pointer(pointer: Pointer) -> str:
    """Return a JSON Pointer as text: /default/weight/bits."""
    return "".join(f"/{_escape(key)}" for key in pointer)


def _escape(key: str) -> str:
    """Return a key as JSON Pointer spells it, without line breaks."""
    return json.dumps(key, ensure_ascii=False)[1:-1].replace("~", "~0").replace("/", "~1")


def fill_defaults(
    value: Any,
    schema: Schema,
    root: Schema | None = None,
    *,
    places: list[Pointer] | None = None,
    at: Pointer = (),
) -> Any:
    """Return a copy of a checked value in which every absent field with a default has it.

    Args:
        value: The value.
        schema: Its schema.
        root: The schema that references start from; None: `schema`.
        places: Takes the pointers of what is filled in.
        at: Where the value lies, for these pointers.
    """
    root = schema if root is None else root
    schema = resolve_reference(schema, root)
    if isinstance(value, list):
        items = schema.get("items", {})
        return [
            fill_defaults(part, items, root, places=places, at=(*at, str(index)))
            for index, part in enumerate(value)
        ]
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for part in branches(value, schema, root):
        for key, field in part.get("properties", {}).items():
            field, place = resolve_reference(field, root), (*at, key)
            if key not in filled and "default" in field:
                filled[key] = copy.deepcopy(field["default"])
                if places is not None:
                    places.append(place)
            if key in filled:
                filled[key] = fill_defaults(filled[key], field, root, places=places, at=place)
    return filled


def branches(value: Any, schema: Schema, root: Schema) -> Iterator[Schema]:
    """Yield the schema and those conditional parts of it that apply to the value."""
    yield schema
    for part in schema.get("allOf", ()):
        condition = {**part.get("if", {}), "$defs": root.get("$defs", {})}
        if "if" in part and _Validator(condition).is_valid(value):
            yield part["then"]
