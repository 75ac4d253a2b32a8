"""What stands behind a name: the sources of an entry, a recipe, a row of a table, or a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qcli.catalog.catalog import KINDS as ENTRY_KINDS
from qcli.catalog.catalog import Catalog
from qcli.errors import UsageError, suggest
from qcli.recipe.checking import part_at
from qcli.recipe.document import read_document
from qcli.recipe.experiment import Row, load_tables, read_table
from qcli.recipe.kind import guess_kind
from qcli.recipe.library import EXPERIMENT, KINDS, exists, kinds_of, shipped_recipes
from qcli.recipe.slots import slot_places

# A label, and what its source says.
Source = tuple[str, str]


def find_sources(name: str, catalog: Catalog) -> list[Source]:
    """Return the sources of what is called so.

    Args:
        name: An entry, a shipped recipe, an experiment, or the path of a recipe or of a run.
        catalog: Where entries are found.

    Returns:
        The sources; "" of an entry that a recipe names and no plugin offers.

    Raises:
        UsageError: Nothing is called so.
        RecipeError: The recipe cannot be read.
    """
    if exists(Path(name) / "run.json"):
        return list(_of_run(Path(name), catalog))
    if name.endswith(".json"):
        return list(_of_file(name, catalog))
    found = list(_of_entry(name, catalog))
    for kind in kinds_of(name):
        found += _of_recipe(name, kind, catalog)
    rows = {} if found else {row.id: row for table in load_tables() for row in table.rows}
    if name in rows:
        found += _of_row(rows[name], catalog)
    if not found:
        raise UsageError(f'nothing is called "{name}"{_near(name, catalog)}; run `qcli list`')
    return found


def _near(name: str, catalog: Catalog) -> str:
    entries = [each for kind in ENTRY_KINDS for each in catalog.of_kind(kind)]
    return suggest(name, [*entries, *(each for kind in KINDS for each in shipped_recipes(kind))])


def _of_entry(name: str, catalog: Catalog) -> Iterator[Source]:
    for kind in ENTRY_KINDS:
        offers = catalog.of_kind(kind)
        family, colon, _ = name.partition(":")
        offer = offers.get(name) or offers.get(family + colon)
        if offer:
            yield offer.entry.name, offer.entry.source


def _of_file(path: str, catalog: Catalog) -> Iterator[Source]:
    kind = guess_kind(path)
    if kind == EXPERIMENT:
        table = read_table(Path(path))
        yield table.name, table.source
        return
    yield from _of_recipe(path, kind, catalog)


def _of_recipe(name: str, kind: str, catalog: Catalog) -> Iterator[Source]:
    """Yield the source of a recipe and those of all that it names."""
    value = read_document(name, kind).value
    if isinstance(value.get("source"), str) and value["source"]:
        yield str(value.get("name", name)), value["source"]
    for entry in dict.fromkeys(_named(value)):
        yield from list(_of_entry(entry, catalog)) or [(entry, "")]


def _named(value: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the entries in a recipe that need not be well-formed."""
    for part in ("architecture", "dataset"):
        given = value.get(part)
        if isinstance(given, Mapping) and isinstance(given.get("name"), str):
            yield given["name"]
    for pointer in slot_places(value):
        yield part_at(value, pointer)["quantizer"]


def _of_row(row: Row, catalog: Catalog) -> Iterator[Source]:
    yield row.id, row.source
    for name, kind in ((row.training, "training"), (row.quantization, "quantization")):
        if name:
            yield from _of_recipe(name, kind, catalog)
    for entry in (row.architecture, row.dataset_name):
        yield from _of_entry(entry, catalog)


def _of_run(path: Path, catalog: Catalog) -> Iterator[Source]:
    """Yield the sources of a run's effective recipes, and qcli's own."""
    for kind in KINDS:
        file = path / f"{kind}.json"
        if file.is_file():
            yield from _of_recipe(f"{path}/{kind}.json", kind, catalog)
    yield "qcli", "qcli"
