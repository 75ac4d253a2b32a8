"""`qcli recipe`: begin a recipe of one's own, and see what one comes to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from qcli.authoring.recipe_start import (
    SCHEMA_FOLDER,
    start_from,
    start_quantization,
    start_training,
    write_start,
)
from qcli.catalog.catalog import Catalog
from qcli.catalog.load import load_catalog
from qcli.cli.options import debug_option, json_option, layer_choice, plugin_options
from qcli.errors import UsageError
from qcli.recipe.checking import spell_pointer
from qcli.recipe.document import Document, read_json
from qcli.recipe.kind import guess_kind
from qcli.recipe.library import EXPERIMENT, KINDS, find_recipe, shipped_recipes
from qcli.recipe.provenance import complete_recipe, list_sources
from qcli.recipe.setting import Request, settle_recipes

EXAMPLES = (
    "qcli recipe new quantization lsq, qcli recipe new training resnet20 cifar10, "
    "or qcli recipe new --from lsq-w4a4"
)


@click.group("recipe")
@debug_option
def command() -> None:
    """Begin a recipe of your own, and see what a recipe comes to and why."""


@command.command("new")
@click.argument("kind", required=False, metavar="[training|quantization]")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--from", "parent", metavar="RECIPE", help="Begin with a copy of this recipe.")
@click.option("-o", "--output", type=Path, metavar="FILE", help="A new file that ends with .json.")
@click.option(
    "--schema/--no-schema",
    default=True,
    help=f"Whether {SCHEMA_FOLDER}/ beside it gets the schema by which editors complete it.",
)
@plugin_options
def new(
    kind: str | None,
    names: tuple[str, ...],
    parent: str | None,
    output: Path | None,
    schema: bool,
    plugins: tuple[str, ...],
) -> None:
    """Write a filled-in start of a recipe: of a quantizer, of a network and a data set, or a copy.

    \b
    qcli recipe new quantization lsq -o mine.json
    qcli recipe new training resnet20 cifar10
    qcli recipe new --from search-2b
    """  # noqa: D301
    from qcli.reporting.console import print_data, say
    from qcli.reporting.next_steps import after_recipe, say_next

    catalog = load_catalog(plugins)
    if parent is None:
        kind, recipe = _start(kind, names, catalog)
    else:
        kind = _kind_of_copy(parent, kind, names)
        recipe = start_from(parent, kind)
    path = output or Path(f"{recipe['name']}.json")
    write_start(recipe, kind, path, catalog, schema=schema)
    print_data(str(path))
    if kind == "training" and parent is None and (alike := _alike(*names)):
        say(f"shipped recipes for these: {', '.join(alike)}; --from begins with one")
    say_next(after_recipe(kind, path))


def _start(
    kind: str | None, names: tuple[str, ...], catalog: Catalog
) -> tuple[str, dict[str, Any]]:
    match kind, names:
        case "quantization", (quantizer,):
            return "quantization", start_quantization(quantizer, catalog)
        case "training", (architecture, dataset):
            return "training", start_training(architecture, dataset, catalog)
    found = " ".join(word for word in (kind, *names) if word)
    raise UsageError(f"recipe new {found}: write {EXAMPLES}")


def _kind_of_copy(parent: str, kind: str | None, names: tuple[str, ...]) -> str:
    found = guess_kind(parent)
    if names or kind not in (None, found):
        raise UsageError(
            f"--from {parent} copies a {found} recipe: write qcli recipe new --from {parent}"
        )
    if found == EXPERIMENT:
        raise UsageError(
            f"{parent} is a table of experiments, which name recipes; copy one of them"
        )
    return found


def _alike(architecture: str, dataset: str) -> list[str]:
    """Return the shipped training recipes of a network and a data set."""
    found = []
    for name, path in shipped_recipes("training").items():
        value = read_json(path)
        named = [(value.get(part) or {}).get("name") for part in ("architecture", "dataset")]
        if named == [architecture, dataset]:
            found.append(name)
    return found


@command.command("show")
@click.argument("name")
@click.option("--resolved", is_flag=True, help="With what it extends and every default.")
@click.option("--sources", is_flag=True, help="Where each value came from.")
@click.option("--kind", type=click.Choice(KINDS), help="Default: what its keys look like.")
@click.option("-a", "--arch", "architecture", metavar="ARCH", help="The network.")
@click.option("-d", "--dataset", metavar="DATASET", help="The data set.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one field.")
@click.option("--first-layer", callback=layer_choice, metavar="float|default|BITS")
@click.option("--last-layer", callback=layer_choice, metavar="float|default|BITS")
@json_option
@plugin_options
def show(
    name: str,
    resolved: bool,
    sources: bool,
    kind: str | None,
    as_json: bool,
    plugins: tuple[str, ...],
    **flags: Any,
) -> None:
    """Show a recipe, by name or path: as it is given, or as a run would have it, and why.

    With --resolved, flags change it as they change it in `qcli train`. --sources names for each
    value the file, the flag, or whose default it is.
    """
    from qcli.reporting.console import print_data
    from qcli.reporting.tables import print_table

    catalog = load_catalog(plugins)
    kind = kind or guess_kind(name)
    if kind == EXPERIMENT:
        raise UsageError(f"{name} is a table of experiments; `qcli show ID` shows a row of it")
    if not (resolved or sources):
        _refuse_flags(flags)
        recipe = read_json(find_recipe(name, kind))
        shown = {"schema_version": 1, "kind": kind, "recipe": recipe} if as_json else recipe
        print_data(json.dumps(shown, indent=2))
        return
    document = _read(name, kind, flags, catalog, resolved=resolved)
    told: dict[str, Any] = {"schema_version": 1, "kind": kind, "recipe": document.value}
    rows = [(spell_pointer(at), value, origin) for at, value, origin in list_sources(document)]
    if sources:
        told["sources"] = {at: origin for at, _, origin in rows}
    if as_json or not sources:
        print_data(json.dumps(told if as_json else document.value, indent=2))
    else:
        cells = [[at, origin, json.dumps(value)] for at, value, origin in rows]
        print_table(("value at", "comes from", "is"), cells)


def _refuse_flags(flags: dict[str, Any]) -> None:
    """Refuse what would have no effect on a recipe as it is given."""
    if any(flags.values()):
        raise UsageError("flags change a recipe where it is resolved: add --resolved or --sources")


def _read(
    name: str, kind: str, flags: dict[str, Any], catalog: Catalog, *, resolved: bool
) -> Document:
    """Return a recipe with its flags applied and, where it is asked for, with every default."""
    if kind == "quantization" and (flags["architecture"] or flags["dataset"]):
        raise UsageError("-a and -d change training recipes; this is a quantization recipe")
    train_json, quant_json = (name, None) if kind == "training" else (None, name)
    request = Request(train_json=train_json, quant_json=quant_json, **flags)
    settled = settle_recipes(request, catalog)
    document = settled.training or settled.quantization
    assert document is not None
    return complete_recipe(settled, catalog) if resolved else document
