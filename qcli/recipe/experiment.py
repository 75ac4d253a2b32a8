"""Published tables as data: every row names the recipes of a run, and what was reported of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from qcli.errors import RecipeError, UsageError, suggest
from qcli.recipe.checking import fault, fill_defaults, find_faults, load_schema
from qcli.recipe.document import Document, json_type, read_document, read_json
from qcli.recipe.library import is_path, library_folder
from qcli.recipe.setting import Request


@dataclass(frozen=True)
class Row:
    """One run of a published table.

    Args:
        id: What `qcli reproduce` calls it.
        architecture: The network.
        training: The training recipe.
        dataset: The data set; None: the training recipe's.
        quantization: The quantization recipe; None: float.
        first_layer: What the first layer gets; None: what the recipe says.
        last_layer: The same for the last layer.
        set: Fields of the recipes that the row changes, by dotted key.
        init_from: The id of the row whose best weights this one starts from.
        teacher: The id of the row whose network is distilled into this one.
        compare: Which epoch of ours stands against the published number: "best" or "last".
        reported: "top1" and "top5" as fractions; empty: nothing was reported.
        note: Anything else to know.
        guessed: What the source does not say, and what is assumed instead.
        source: Where the table was published.
    """

    id: str
    architecture: str
    training: str
    dataset: str | None = None
    quantization: str | None = None
    first_layer: str | None = None
    last_layer: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    init_from: str | None = None
    teacher: str | None = None
    compare: str = "best"
    reported: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    guessed: tuple[str, ...] = ()
    source: str = ""

    @property
    def parents(self) -> tuple[str, ...]:
        """The ids of the rows that must be trained before."""
        return tuple(each for each in (self.init_from, self.teacher) if each)

    @property
    def dataset_name(self) -> str:
        """The data set, whether the row or its training recipe names it."""
        if self.dataset:
            return self.dataset
        name: str = _read_training(self.training)["dataset"]["name"]
        return name

    @property
    def overrides(self) -> tuple[str, ...]:
        """What the row changes, as --set takes it."""
        return tuple(f"{key}={json.dumps(value)}" for key, value in self.set.items())

    def request(self, seed: int | None = None, epochs_scale: float | None = None) -> Request:
        """Return what the row asks for, to be resolved into a setting."""
        return Request(
            architecture=self.architecture,
            dataset=self.dataset,
            train_json=self.training,
            quant_json=self.quantization,
            overrides=self.overrides,
            first_layer=self.first_layer,
            last_layer=self.last_layer,
            seed=seed,
            epochs_scale=epochs_scale,
        )

    def arguments(self) -> list[str]:
        """Return the words that follow `qcli train` on a command line."""
        named = {
            "-a": self.architecture,
            "-d": self.dataset,
            "--train-json": self.training,
            "--quant-json": self.quantization,
            "--first-layer": self.first_layer,
            "--last-layer": self.last_layer,
        }
        words = [word for flag, value in named.items() if value for word in (flag, value)]
        return words + [word for each in self.overrides for word in ("--set", each)]


@dataclass(frozen=True)
class Table:
    """A published table.

    Args:
        name: Its file's name; every row's id begins with it.
        summary: Which methods, network and data set.
        source: Where it was published.
        note: Anything else to know.
        rows: Its rows, in the published order.
        left_out: Rows of it that are not here, with the reason.
    """

    name: str
    summary: str
    source: str
    note: str
    rows: tuple[Row, ...]
    left_out: tuple[tuple[str, str], ...]


@cache
def _read_training(recipe: str) -> Mapping[str, Any]:
    return read_document(recipe, "training").value


def find_table(name_or_path: str) -> Path:
    """Return the file of a table, by its path or by the name of a shipped one."""
    if is_path(name_or_path):
        return Path(name_or_path)
    return library_folder("experiments") / f"{name_or_path}.json"


def load_tables() -> tuple[Table, ...]:
    """Read every shipped table.

    Raises:
        RecipeError: Every fault of all of them.
    """
    return tuple(read_table(path) for path in sorted(library_folder("experiments").glob("*.json")))


def read_table(path: Path) -> Table:
    """Read one table.

    Raises:
        RecipeError: Every fault of it.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise RecipeError([f"{path}: a table is a JSON object, found {json_type(value)}"])
    document = Document(str(path), value)
    faults = find_faults(document, load_schema("experiment"))
    if not faults:
        faults = list(_find_gaps(document))
    if faults:
        raise RecipeError(faults)
    filled = fill_defaults(value, load_schema("experiment"))
    return Table(
        name=filled["name"],
        summary=filled["summary"],
        source=filled["source"],
        note=filled["note"],
        rows=tuple(_make_row(row, filled, path) for row in filled["rows"]),
        left_out=tuple(
            (each, part["reason"]) for part in filled["left_out"] for each in part["rows"]
        ),
    )


def _find_gaps(document: Document) -> Iterator[str]:
    """Yield what no row may lack, and ids that are not the table's or not unique."""
    defaults = document.value.get("defaults", {})
    seen: set[str] = set()
    for index, row in enumerate(document.value["rows"]):
        place = ("rows", str(index))
        for key in ("architecture", "training"):
            if key not in {**defaults, **row}:
                yield fault(document, place, f'"{key}" is missing, here and in defaults')
        if not row["id"].startswith(f"{document.value['name']}-"):
            text = f'found "{row["id"]}", allowed: the table\'s name, a hyphen and more'
            yield fault(document, (*place, "id"), text)
        if row["id"] in seen:
            yield fault(document, (*place, "id"), f'"{row["id"]}" stands twice')
        seen.add(row["id"])


def _make_row(row: Mapping[str, Any], table: Mapping[str, Any], path: Path) -> Row:
    fields = {**table["defaults"], **row}
    fields["set"] = {**table["defaults"].get("set", {}), **row.get("set", {})}
    fields["guessed"] = (*table["guessed"], *row.get("guessed", ()))
    fields |= {key: _locate(fields.get(key), path) for key in ("training", "quantization")}
    return Row(**fields, source=table["source"])


def _locate(recipe: str | None, path: Path) -> str | None:
    """Take a recipe's path from the folder of the table."""
    return str((path.parent / recipe).absolute()) if recipe and is_path(recipe) else recipe


def select_rows(wanted: Iterable[str], tables: Sequence[Table]) -> list[Row]:
    """Return the rows that ids, globs over ids, or names of tables mean, each once, in order.

    Raises:
        UsageError: One of them means nothing.
    """
    rows = {row.id: row for table in tables for row in table.rows}
    by_name = {table.name: table for table in tables}
    found: dict[str, Row] = {}
    for each in wanted:
        ids = [id for id in rows if fnmatchcase(id, each)]
        ids = ids or [row.id for row in by_name[each].rows] if each in by_name else ids
        if not ids:
            raise UsageError(_nothing(each, rows, by_name))
        found |= {id: rows[id] for id in ids}
    return list(found.values())


def _nothing(wanted: str, rows: Mapping[str, Row], tables: Mapping[str, Table]) -> str:
    """Return what to say where nothing can be run."""
    if wanted in tables:
        reasons = dict.fromkeys(reason for _, reason in tables[wanted].left_out)
        return f"{wanted}: all rows are left out: {'; '.join(reasons)}"
    near = suggest(wanted, [*rows, *tables])
    return f'no experiment "{wanted}"{near}; run `qcli list experiments`'


def require_distinct(tables: Sequence[Table]) -> None:
    """Refuse tables of which one would hide rows of another.

    Raises:
        UsageError: Two have the same name, or a row of the same id.
    """
    for kind, names in (
        ("table", [table.name for table in tables]),
        ("row", [row.id for table in tables for row in table.rows]),
    ):
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise UsageError(f'two tables hold the {kind} "{twice[0]}"; rename one')


def with_parents(rows: Iterable[Row], tables: Sequence[Table]) -> list[Row]:
    """Return the rows and all that they start from, parents first.

    Raises:
        UsageError: A parent does not exist, or rows start from each other.
    """
    known = {row.id: row for table in tables for row in table.rows}
    ordered: dict[str, Row] = {}

    def visit(row: Row, children: tuple[str, ...]) -> None:
        if row.id in children:
            raise UsageError(f"rows start from each other: {' -> '.join((*children, row.id))}")
        for parent in row.parents:
            if parent not in known:
                near = suggest(parent, known)
                raise UsageError(f'{row.id} starts from "{parent}", which is unknown{near}')
            visit(known[parent], (*children, row.id))
        ordered.setdefault(row.id, row)

    for row in rows:
        visit(row, ())
    return list(ordered.values())
