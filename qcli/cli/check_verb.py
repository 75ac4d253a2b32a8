"""`qcli check`: say what is wrong with recipes, without loading torch."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from qcli.catalog.load import load_catalog
from qcli.cli.options import plugin_options
from qcli.errors import RecipeError
from qcli.recipe.checking import load_schema
from qcli.recipe.checks import Findings, check_recipe
from qcli.recipe.document import read_document, read_json
from qcli.recipe.library import KINDS, find_recipe, kinds_of


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
            found_kind = kind or _guess(file)
            own = check_recipe(read_document(file, found_kind), found_kind, catalog)
        except RecipeError as error:
            own = Findings(list(error.faults))
        else:
            if not own:
                print_data(f"{file}: a valid {found_kind} recipe")
        findings.add(own)
    findings.raise_any()


def _guess(file: str) -> str:
    """Return the kind that a recipe's own keys tell, or else those of what it extends."""
    name, path = file, find_recipe(file, None)
    seen: set[Path] = set()
    # Whoever reads the recipe says what is wrong with the recipes that it extends.
    with suppress(RecipeError):
        while path not in seen:
            seen.add(path)
            value = read_json(path)
            if kinds := kinds_of(name) or _kinds_of_keys(value):
                return kinds[0]
            name = str(value.get("extends", ""))
            path = find_recipe(name, None, beside=path)
    return KINDS[0]


def _kinds_of_keys(value: Any) -> list[str]:
    """Return the kinds by how many keys of theirs alone a recipe has; those with none are out."""
    if not isinstance(value, dict):
        return ["quantization" if isinstance(value, list) else KINDS[0]]
    fields = {kind: set(load_schema(kind)["properties"]) for kind in KINDS}
    shared = set.intersection(*fields.values())
    counts = {kind: len(value.keys() & (fields[kind] - shared)) for kind in KINDS}
    return sorted((kind for kind in KINDS if counts[kind]), key=counts.__getitem__, reverse=True)
