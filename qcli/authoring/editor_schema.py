"""The JSON Schema of recipes with the options of every installed plugin, for editors."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from qcli.catalog.catalog import Catalog
from qcli.recipe.checking import load_schema
from qcli.recipe.library import EXPERIMENT


def compose_schema(kind: str, catalog: Catalog) -> dict[str, Any]:
    """Return the core schema with every entry's options in their places."""
    schema = copy.deepcopy(load_schema(kind))
    if kind == EXPERIMENT:
        return schema
    if kind == "quantization":
        _compose(schema["$defs"]["slot"], "quantizer", _options(catalog, "quantizers"))
        return _accept_value_space(schema)
    properties = schema["properties"]
    _compose(properties["architecture"], "name", _options(catalog, "architectures"))
    _compose(properties["dataset"], "name", _options(catalog, "datasets"))
    return schema


def _options(catalog: Catalog, kind: str) -> dict[str, Mapping[str, Any]]:
    return {name: offer.entry.options for name, offer in catalog.of_kind(kind).items()}


def _compose(place: dict[str, Any], key: str, options: Mapping[str, Mapping[str, Any]]) -> None:
    """Let an object take the options of the entry that its `key` names."""
    description = place["properties"][key]["description"]
    families = [name for name in options if name.endswith(":")]
    names: list[dict[str, Any]] = [{"enum": [name for name in options if name not in families]}]
    names += [{"pattern": f"^{family}"} for family in families]
    place["properties"][key] = {"description": description, "type": "string", "anyOf": names}
    shared = dict.fromkeys(place["properties"], True)
    place["allOf"] = [
        {
            "if": {"type": "object", "required": [key], "properties": {key: _named(name)}},
            "then": {"additionalProperties": False, "properties": {**shared, **own}},
        }
        for name, own in options.items()
    ]


def _named(name: str) -> dict[str, Any]:
    return {"pattern": f"^{name}"} if name.endswith(":") else {"const": name}


def _accept_value_space(schema: dict[str, Any]) -> dict[str, Any]:
    """Let a bare list of numbers stand for categorical search over it."""
    about = {key: schema.pop(key) for key in ("$schema", "title", "description", "$defs")}
    return {**about, "anyOf": [schema, {"type": "array", "$ref": "#/$defs/value_space"}]}
