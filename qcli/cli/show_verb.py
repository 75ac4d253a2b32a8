"""`qcli show`: one entry or recipe, with all its options."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from qcli.catalog.catalog import Catalog, Offer
from qcli.catalog.entries import ArchitectureEntry, DatasetEntry, QuantizerEntry
from qcli.catalog.load import load_catalog
from qcli.cli.drawing_file import PLOTS, require_new_drawing
from qcli.cli.list_verb import ENTRY_KINDS
from qcli.cli.options import json_option, plugin_options
from qcli.errors import PluginError, suggest
from qcli.recipe.document import read_document
from qcli.recipe.experiment import Row, Table, load_tables, with_parents
from qcli.recipe.library import KINDS as RECIPE_KINDS
from qcli.recipe.library import shipped_recipes
from qcli.recipe.setting import resolve_setting
from qcli.recipe.wording import allowed_values


@click.command("show")
@click.argument("name")
@click.option(
    "--plot",
    type=Path,
    metavar="FILE",
    help="Draw a quantizer's curve, levels, boundaries and gradient in a new file: .png, .svg.",
)
@json_option
@plugin_options
def command(name: str, plot: Path | None, as_json: bool, plugins: tuple[str, ...]) -> None:
    """Show everything known of a quantizer, an architecture, a data set, a recipe, a row."""
    from qcli.reporting.console import print_data

    catalog = load_catalog(plugins)
    if plot:
        _plot(catalog.quantizer(name), plot)
    found = _find(name, catalog)
    if as_json:
        print_data(json.dumps({"schema_version": 1, **found}, indent=2))
    elif "recipe" in found:
        print_data(json.dumps(found["recipe"], indent=2))
    elif "experiment" in found:
        _print_experiment(found["experiment"])
    else:
        _print(found)


def _plot(entry: QuantizerEntry, path: Path) -> None:
    """Draw a quantizer; only this imports torch."""
    require_new_drawing("--plot", path, PLOTS)
    from qcli.quantization.portrait import portray
    from qcli.reporting.transfer_plot import plot_transfers

    plot_transfers(portray(entry), path)


def _find(name: str, catalog: Catalog) -> dict[str, Any]:
    for kind in ENTRY_KINDS:
        offers = catalog.of_kind(kind)
        family = name.partition(":")[0] + ":"
        offer = offers.get(name) or offers.get(family)
        if offer:
            return {"kind": kind[:-1], **_describe(offer)}
    for kind in RECIPE_KINDS:
        if name in shipped_recipes(kind):
            return {"kind": f"{kind} recipe", "recipe": read_document(name, kind).value}
    tables = load_tables()
    rows = {row.id: row for table in tables for row in table.rows}
    if name in rows:
        return {"kind": "experiment", "experiment": _describe_row(rows[name], tables, catalog)}
    entries = [each for kind in ENTRY_KINDS for each in catalog.of_kind(kind)]
    recipes = [each for kind in RECIPE_KINDS for each in shipped_recipes(kind)]
    near = suggest(name, [*entries, *recipes, *rows])
    problems = "".join(f"; {problem}" for problem in catalog.problems)
    raise PluginError(f'nothing is called "{name}"{near}{problems}; run `qcli list`')


def _describe_row(row: Row, tables: Sequence[Table], catalog: Catalog) -> dict[str, Any]:
    """Return all of an experiment: its fields, both effective recipes, and the commands."""
    setting = resolve_setting(row.request(), catalog)
    quantization = setting.quantization
    return {
        **vars(row),
        "effective_training": dict(setting.training.document) if setting.training else None,
        "effective_quantization": dict(quantization.document) if quantization else None,
        "command": f"qcli reproduce {row.id}",
        "commands": [_command(each) for each in with_parents([row], tables)],
    }


def _command(row: Row) -> str:
    """Return what trains a row by hand; ids stand for the run directories of its parents."""
    start = ["--init-from", row.init_from] if row.init_from else []
    teacher = ["--teacher", row.teacher] if row.teacher else []
    return shlex.join(["qcli", "train", *row.arguments(), *start, *teacher, "-o", row.id])


def _print_experiment(found: dict[str, Any]) -> None:
    """Print an experiment: what it is, its recipes, what it stands on, how it is run."""
    from qcli.reporting.console import print_data
    from qcli.reporting.tables import print_fields

    commands, words = found.pop("commands"), {}
    recipes = {key: found.pop(key) for key in ("effective_training", "effective_quantization")}
    for key, value in found.items():
        if value not in (None, "", (), {}):
            words[key.replace("_", " ")] = value if isinstance(value, str) else json.dumps(value)
    print_fields(words)
    for key, recipe in recipes.items():
        if recipe:
            print_data(f"\n{key.replace('_', ' ')}:\n{json.dumps(recipe, indent=2)}")
    print_data("\nby hand:\n" + "\n".join(commands))


def _describe(offer: Offer) -> dict[str, Any]:
    entry = offer.entry
    fields: dict[str, Any] = {
        "name": entry.name,
        "summary": entry.summary,
        "source": entry.source,
        "distribution": offer.distribution,
        "version": offer.version,
    }
    match entry:
        case QuantizerEntry():
            fields["quantizes"] = sorted(entry.quantizes)
        case ArchitectureEntry():
            fields["first_layer"] = entry.first_layer
            fields["last_layer"] = entry.last_layer
            fields["default_num_classes"] = entry.default_num_classes
            fields["default_image_shape"] = list(entry.default_image_shape)
        case DatasetEntry():
            fields["num_classes"] = entry.num_classes
            fields["image_shape"] = list(entry.image_shape) if entry.image_shape else None
    return {**fields, "options": dict(entry.options)}


def _print(found: dict[str, Any]) -> None:
    from qcli.reporting.tables import print_fields, print_table

    options = found.pop("options")
    print_fields({key.replace("_", " "): _text(value) for key, value in found.items()})
    rows = [
        [name, json.dumps(option["default"]), allowed_values(option), option["description"]]
        for name, option in options.items()
    ]
    if rows:
        print_table(("option", "default", "allowed", "meaning"), rows)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return (
            " x ".join(map(str, value))
            if all(isinstance(v, int) for v in value)
            else ", ".join(value)
        )
    return "decided by the data or the network" if value is None else str(value)
