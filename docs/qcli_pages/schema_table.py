"""Fields of a JSON Schema as rows of a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from qcli.recipe.checking import SHARED
from qcli.recipe.reference import Schema, resolve_reference
from qcli.recipe.wording import allowed_values
from qcli_pages import markdown


@dataclass(frozen=True)
class Field:
    """One field of a JSON object.

    Args:
        path: Its keys with dots between them; `[]` stands for each item of a list.
        schema: Its JSON Schema, references followed.
        reference: The shared schema that it refers to, "" where there is none.
        required: Whether it must be there.
    """

    path: str
    schema: Schema
    reference: str
    required: bool

    @property
    def anchor(self) -> str:
        """What links to the field."""
        return self.path.replace("[]", "").replace("$", "")


def fields_of(schema: Schema, root: Schema, prefix: str = "") -> Iterator[Field]:
    """Yield the fields of an object and of the objects in it; shared schemas are not entered."""
    for name, raw in schema.get("properties", {}).items():
        field = resolve_reference(raw, root) if isinstance(raw, Mapping) else {}
        path, reference = f"{prefix}{name}", shared_reference(raw)
        yield Field(path, field, reference, name in schema.get("required", ()))
        # A shared schema has its own page; what is said beside the reference belongs here.
        yield from fields_of(raw if reference else field, root, f"{path}.")
        if not reference:
            items = resolve_reference(field.get("items", {}), root)
            yield from fields_of(items, root, f"{path}[].")


def shared_reference(schema: Any) -> str:
    """Return the name of the shared schema that a field refers to, or ''."""
    name = str(schema.get("$ref", "")).rpartition("/")[2] if isinstance(schema, Mapping) else ""
    return name if name in (*SHARED, "slot") else ""


def fields_table(fields: list[Field], prefix: str = "") -> str:
    """Return a table of fields, each with an anchor.

    Args:
        fields: The rows.
        prefix: Stands before the paths in anchors, where one page has several such tables.
    """
    rows = [
        [
            markdown.anchored(field.path, f"{prefix}{field.anchor}"),
            _allowed(field),
            _default(field),
            markdown.text(field.schema.get("description", "")) + _bounds_inside(field.schema),
        ]
        for field in fields
    ]
    return markdown.table(
        ("field", "type, allowed", "default", "what it says"), rows, "fields schema"
    )


def options_table(options: Mapping[str, Schema], prefix: str) -> str:
    """Return the table of an entry's options."""
    if not options:
        return "It has none.\n"
    root: Schema = {"$defs": {name: {} for name in SHARED}}
    fields = [
        Field(name, resolve_reference(schema, root), shared_reference(schema), False)
        for name, schema in options.items()
    ]
    return fields_table(fields, f"{prefix}-")


def _allowed(field: Field) -> str:
    if field.reference == "slot":
        return "null or [a quantizer with its options](#slot)"
    if field.reference:
        page = f"{field.reference}.md"
        name = field.reference.replace("_", " ")
        number = "a number or " if field.reference == "schedule" else ""
        return f"{number}[a {name}](/reference/{page})"
    if {"minimum", "exclusiveMinimum"} & field.schema.keys() and "type" not in field.schema:
        return markdown.text(allowed_values({"type": "number", **field.schema}))
    if not {"type", "enum", "const"} & field.schema.keys():
        return "a name of those below" if "anyOf" in field.schema else "any"
    words = markdown.text(allowed_values(field.schema))
    items = field.schema.get("items", {})
    if not items or {"$ref", "properties"} & items.keys():
        return words + (" of [transforms](/reference/transform.md)" if items.get("$ref") else "")
    return f"{words} of: {markdown.text(allowed_values(items))}"


def _default(field: Field) -> str:
    if "default" in field.schema:
        return markdown.code(json.dumps(field.schema["default"]))
    return "**required**" if field.required else "absent"


def _bounds_inside(schema: Schema) -> str:
    """Say what the values of an object with free keys may be, and in what a number counts."""
    extra = schema.get("additionalProperties")
    inside = f" Its values: {allowed_values(extra)}." if isinstance(extra, Mapping) else ""
    return inside + (" Counts epochs." if schema.get("unit") == "epochs" else "")
