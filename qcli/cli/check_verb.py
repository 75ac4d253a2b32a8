"""`qcli check`: say what is wrong with recipes, without loading torch."""

from __future__ import annotations

import click

from qcli.catalog.catalog import Catalog
from qcli.catalog.load import load_catalog
from qcli.cli.options import plugin_options
from qcli.errors import PluginError, RecipeError, UsageError
from qcli.recipe.checks import Findings, check_recipe
from qcli.recipe.document import read_document
from qcli.recipe.experiment import find_table, load_tables, read_table, with_parents
from qcli.recipe.kind import guess_kind
from qcli.recipe.library import EXPERIMENT, KINDS
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
    if len(files) == 1:
        from qcli.reporting.next_steps import after_check, say_next

        say_next(after_check(files[0], found_kind))


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
