"""Which kind of file a recipe or a table is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from qcli.errors import RecipeError
from qcli.recipe.checking import load_schema
from qcli.recipe.document import read_json
from qcli.recipe.experiment import find_table
from qcli.recipe.library import EXPERIMENT, KINDS, exists, find_recipe, kinds_of


def guess_kind(file: str) -> str:
    """Return the kind of a recipe or table: what its own keys tell, or what it extends.

    Args:
        file: Its path or name.
    """
    if exists(find_table(file)) and _is_table(read_json(find_table(file))):
        return EXPERIMENT
    name, path = file, find_recipe(file, None)
    seen: set[Path] = set()
    # Whoever reads the recipe says what is wrong with the recipes that it extends.
    with suppress(RecipeError):
        while path not in seen:
            seen.add(path)
            value = read_json(path, f"; {file} extends it" if len(seen) > 1 else "")
            if kinds := kinds_of(name) or _kinds_of_keys(value):
                return kinds[0]
            name = str(value.get("extends", ""))
            path = find_recipe(name, None, beside=path)
    return KINDS[0]


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and "rows" in value


def _kinds_of_keys(value: Any) -> list[str]:
    """Return the kinds by how many keys of theirs alone a recipe has; those with none are out."""
    if not isinstance(value, dict):
        return ["quantization" if isinstance(value, list) else KINDS[0]]
    fields = {kind: set(load_schema(kind)["properties"]) for kind in KINDS}
    shared = set.intersection(*fields.values())
    counts = {kind: len(value.keys() & (fields[kind] - shared)) for kind in KINDS}
    return sorted((kind for kind in KINDS if counts[kind]), key=counts.__getitem__, reverse=True)
