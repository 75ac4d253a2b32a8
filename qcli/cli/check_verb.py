"""`qcli check`: say what is wrong with recipes, without loading torch."""

from __future__ import annotations

from typing import Any

import click

from qcli.catalog.load import load_catalog
from qcli.cli.options import plugin_options
from qcli.errors import RecipeError
from qcli.recipe.checking import load_schema
from qcli.recipe.checks import Findings, check_recipe
from qcli.recipe.document import Document, read_document
from qcli.recipe.library import KINDS, shipped_recipes


@click.command("check")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    help="Which kind of recipe; default: what its keys look like.",
)
@plugin_options
def command(files: tuple[str, ...], kind: str | None, plugins: tuple[str, ...]) -> None:
    """Check recipes, by path or by name, and tell every fault at once."""
    from qcli.reporting.console import print_data

    catalog = load_catalog(plugins)
    findings = Findings()
    for file in files:
        try:
            found_kind, document = _read(file, kind)
            own = check_recipe(document, found_kind, catalog)
        except RecipeError as error:
            own = Findings(list(error.faults))
        else:
            if not own:
                print_data(f"{file}: a valid {found_kind} recipe")
        findings.add(own)
    findings.raise_any()


def _read(file: str, kind: str | None) -> tuple[str, Document]:
    """Read a recipe of a kind, or of the kind that its name or its keys tell."""
    if kind is None:
        kind = next((each for each in KINDS if file in shipped_recipes(each)), None)
    if kind is not None:
        return kind, read_document(file, kind)
    document = read_document(file, "quantization")
    return _guess(document.value), document


def _guess(value: dict[str, Any]) -> str:
    """Return the kind whose own keys a recipe has more of."""
    fields = {kind: set(load_schema(kind)["properties"]) for kind in KINDS}
    shared = fields["training"] & fields["quantization"]
    return max(KINDS, key=lambda kind: len((fields[kind] - shared) & value.keys()))
