"""The start of a recipe of one's own, filled in, with a schema beside it for editors."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcli.authoring.editor_schema import compose_schema
from qcli.catalog.building import settle_member
from qcli.catalog.catalog import Catalog
from qcli.catalog.entries import SLOTS, QuantizerEntry
from qcli.errors import RecipeError, UsageError
from qcli.recipe.checking import fill_defaults, load_schema, options_schema
from qcli.recipe.checks import check_recipe
from qcli.recipe.document import Document, read_document, read_json

Recipe = dict[str, Any]

SCHEMA_FOLDER = ".qcli"
# What people change first; an editor that knows the schema completes the other fields.
TRAINING: Mapping[str, Any] = {
    "normalize": "dataset",
    "augment": [],
    "epochs": 100,
    "batch_size": 128,
    # Trains networks without norms, too.
    "lr": {"kind": "cosine", "start": 0.001, "end": 0},
    "optimizer": {"name": "adam"},
    "seed": 0,
}


def start_quantization(quantizer: str, catalog: Catalog) -> Recipe:
    """Return a recipe that gives every layer one quantizer, with all its options.

    Raises:
        PluginError: No plugin offers it.
    """
    entry = catalog.quantizer(quantizer)
    slots = {slot: _slot(entry) for slot in _first_slots(entry)}
    ends = load_schema("quantization")["properties"]
    floats = {part: ends[part]["default"] for part in ("first_layer", "last_layer")}
    return {"name": _name(quantizer), "default": slots, **floats, "layers": []}


def _first_slots(entry: QuantizerEntry) -> list[str]:
    """Return the weight and the input, or the output where it can fill no other slot."""
    fits = [slot for slot in SLOTS if slot in entry.quantizes]
    return [slot for slot in fits if slot != "output"] or fits


def _slot(entry: QuantizerEntry) -> Recipe:
    return {"quantizer": entry.name, **_defaults(entry.options)}


def _defaults(options: Mapping[str, Mapping[str, Any]]) -> Recipe:
    defaults: Recipe = fill_defaults({}, options_schema(options))
    return defaults


def start_training(architecture: str, dataset: str, catalog: Catalog) -> Recipe:
    """Return a recipe that trains a network on a data set.

    Raises:
        PluginError: No plugin offers them.
        UsageError: A family has no such member.
    """
    network, member = settle_member(*catalog.architecture(architecture))
    name = architecture if member is None else f"{network.name}{member}"
    data = catalog.dataset(dataset)
    return {
        "name": _name(f"{architecture}-{dataset}"),
        "architecture": {"name": name, **_defaults(network.options)},
        "dataset": {"name": dataset, **_defaults(data.options)},
        **TRAINING,
    }


def start_from(name_or_path: str, kind: str) -> Recipe:
    """Return a copy of a recipe with what it extends, but without what its source reports.

    Raises:
        RecipeError: It cannot be read.
    """
    value = read_document(name_or_path, kind).value
    kept = {key: part for key, part in value.items() if key not in ("$schema", "reported")}
    return {**kept, "name": _name(f"my-{value.get('name', kind)}")}


def _name(text: str) -> str:
    """Return a name that recipes may have, and files."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")[:100] or "mine"


def write_start(recipe: Recipe, kind: str, path: Path, catalog: Catalog, *, schema: bool) -> None:
    """Check a start and write it into a new file, named after it.

    Args:
        recipe: The recipe.
        kind: "training" or "quantization".
        path: The file to make; its name becomes the recipe's.
        catalog: Where its entries are found.
        schema: Whether a schema is written beside it, which the recipe then names.

    Raises:
        UsageError: The file exists, or its name does not end with .json.
        RecipeError: The defaults of an entry contradict each other.
    """
    if path.suffix != ".json":
        raise UsageError(f"{path}: a recipe's file name ends with .json")
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists; name a new file with -o, or remove it")
    named = {**recipe, "name": _name(path.stem)}
    check_recipe(Document(str(path), named), kind, catalog).raise_any()
    path.parent.mkdir(parents=True, exist_ok=True)
    if schema:
        place = f"{SCHEMA_FOLDER}/{kind}.schema.json"
        write_schema(path.parent / place, kind, catalog)
        named = {"$schema": place, **named}
    _write_new(path, json.dumps(named, indent=2) + "\n")


def _write_new(path: Path, text: str) -> None:
    """Write a file that is not there, whole or not at all."""
    with path.open("x", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
        except OSError:
            path.unlink()
            raise


def write_schema(path: Path, kind: str, catalog: Catalog) -> None:
    """Write the schema of recipes, or write it anew: plugins may have come since.

    Raises:
        UsageError: What lies there is no such schema.
    """
    schema = compose_schema(kind, catalog)
    if path.exists() and _title(path) != schema["title"]:
        raise UsageError(
            f"{path} exists and is no schema of {kind} recipes; remove it, or pass --no-schema"
        )
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        partial.write_text(json.dumps(schema, indent=2) + "\n", "utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _title(path: Path) -> str | None:
    try:
        value = read_json(path)
    except RecipeError:
        return None
    title: str | None = value.get("title") if isinstance(value, dict) else None
    return title
