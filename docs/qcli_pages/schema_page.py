"""The page of one kind of JSON file, from its schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from qcli.authoring.editor_schema import compose_schema
from qcli.catalog.catalog import Catalog
from qcli.recipe.checking import SHARED, load_schema
from qcli.recipe.library import EXPERIMENT, KINDS
from qcli.recipe.reference import Schema, resolve_reference
from qcli_pages import markdown
from qcli_pages.schema_table import Field, fields_of, fields_table

PAGES = (*KINDS, EXPERIMENT, *SHARED)
TITLES = {
    "training": "Training recipe",
    "quantization": "Quantization recipe",
    "experiment": "Table of experiments",
    "schedule": "Schedule",
    "transform": "Transform of images",
    "value_space": "Value space",
}


@dataclass(frozen=True)
class Section:
    """A table of fields under a heading.

    Args:
        title: The heading; "" for the fields of the whole file.
        anchor: What links to the heading, and begins the anchors of its fields.
        about: A sentence, or "".
        fields: The rows.
    """

    title: str
    anchor: str
    about: str
    fields: list[Field]


def schema_of(page: str, catalog: Catalog) -> Schema:
    """Return the schema that a page of `PAGES` tells of, with the options of every plugin."""
    if page in SHARED:
        return {**load_schema("training")["$defs"][page], "$defs": load_schema("training")["$defs"]}
    schema = compose_schema(page, catalog)
    # A quantization recipe may be a bare list, too.
    return {**schema, **schema["anyOf"][0]} if "anyOf" in schema else schema


def sections_of(schema: Schema) -> Iterator[Section]:
    """Yield the fields of a file, then those that depend on a name, then those of parts."""
    yield Section("", "", "", list(fields_of(schema, schema)))
    yield from _variants("", schema, schema)
    for name, raw in _objects(schema):
        yield from _variants(name, raw, schema)
    slot = schema.get("$defs", {}).get("slot")
    if slot:
        fields = list(fields_of(slot, schema))
        yield Section("slot", "slot", slot["description"], fields)
        yield from _variants("slot", slot, schema)


def _objects(schema: Schema) -> Iterator[tuple[str, Schema]]:
    for name, raw in schema.get("properties", {}).items():
        field = resolve_reference(raw, schema)
        if "$ref" not in raw or str(raw["$ref"]).rpartition("/")[2] not in (*SHARED, "slots"):
            yield name, field


def _variants(owner: str, schema: Schema, root: Schema) -> Iterator[Section]:
    """Yield the fields that an object has when one of its keys names something."""
    shared = schema.get("properties", {})
    for part in schema.get("allOf", ()):
        key, names = _condition(part)
        own = {
            name: field
            for name, field in part.get("then", {}).get("properties", {}).items()
            if name not in shared and field is not True
        }
        if names and own:
            required = part["then"].get("required", ())
            anchor = f"{owner}-{names[0].rstrip(':')}" if owner else names[0]
            about = part["then"]["properties"].get(key, {})
            about = about.get("description", "") if isinstance(about, Mapping) else ""
            fields = list(fields_of({"properties": own, "required": required}, root))
            title = f"{owner or key} {' or '.join(names)}"
            yield Section(title, anchor, about, fields)


def _condition(part: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the key that decides, and the names for which it does."""
    for key, wanted in part.get("if", {}).get("properties", {}).items():
        if "const" in wanted:
            return key, [wanted["const"]]
        if "pattern" in wanted:
            return key, [wanted["pattern"].removeprefix("^")]
        return key, list(wanted.get("enum", ()))
    return "", []


def make_page(page: str, catalog: Catalog) -> str:
    """Return the page of one of `PAGES`."""
    schema = schema_of(page, catalog)
    lines = [f"# {TITLES[page]}\n", f"{markdown.text(schema['description'])}\n"]
    if page not in SHARED:
        lines.append(
            f"Made from the schema that `qcli schema {page}` prints; with it an editor "
            "completes and checks the file: `qcli schema KIND > FILE`, and in "
            'the recipe `"$schema": "FILE"`.\n'
        )
    for section in sections_of(schema):
        if section.title:
            lines.append(f"## {section.title} {{ #{section.anchor} }}\n")
            lines.append(f"{markdown.text(section.about)}\n")
        prefix = f"{section.anchor}." if section.title else ""
        lines.append(fields_table(section.fields, prefix))
    return "\n".join(lines)
