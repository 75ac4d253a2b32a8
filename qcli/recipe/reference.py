"""References inside JSON Schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]


def resolve_reference(field: Schema, root: Schema) -> Schema:
    """Follow `$ref` from the root of its schema; what stands beside it wins."""
    while "$ref" in field:
        target: Any = root
        for key in field["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        field = {**target, **{key: part for key, part in field.items() if key != "$ref"}}
    return field
