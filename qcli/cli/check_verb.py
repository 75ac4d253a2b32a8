"""`qcli check`: say what is wrong with recipes, without loading torch."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from qcli.catalog.catalog import Catalog
from qcli.catalog.load import load_catalog
from qcli.cli.options import plugin_options
from qcli.errors import PluginError, RecipeError, UsageError
from qcli.recipe.checking import load_schema
from qcli.recipe.checks import Findings, check_recipe
from qcli.recipe.document import read_document, read_json
from qcli.recipe.experiment import find_table, load_tables, read_table, with_parents
from qcli.recipe.library import EXPERIMENT, KINDS, exists, find_recipe, kinds_of
from qcli.recipe.setting import resolve_setting


@click.command("check")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--kind",
    type=click.Choice((*KINDS, EXPERIMENT)),
    help="Which kind of file; default: what its keys look like.",
)
@plugin_options
def command(files: tuple[str, ...], kind: str | None, plugins: tuple[str, ...]) -> None:
    """Check recipes and tables of experiments, by path or by name; tell every fault at once."""
    from qcli.reporting.console import print_data

    catalog = load_catalog(plugins)
    findings = Findings()
    for file in files:
        try:
            found_kind = kind or guess_kind(file)
            own = _check(file, found_kind, catalog)
        except RecipeError as error:
            own = Findings(list(error.faults))
        else:
            if not own:
                what = (
                    "table of experiments" if found_kind == EXPERIMENT else f"{found_kind} recipe"
                )
                print_data(f"{file}: a valid {what}")
        findings.add(own)
    findings.raise_any()


def _check(file: str, kind: str, catalog: Catalog) -> Findings:
    if kind != EXPERIMENT:
        return check_recipe(read_document(file, kind), kind, catalog)
    table = read_table(find_table(file))
    faults = []
    for row in table.rows:
        try:
            resolve_setting(row.request(), catalog)
        except (PluginError, UsageError) as error:
            faults += [f"{file}: {row.id}: {line}" for line in str(error).splitlines()]
    try:
        with_parents(table.rows, (*load_tables(), table))
    except UsageError as error:
        faults.append(f"{file}: {error}")
    return Findings(faults)


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
