"""`qcli schema`: the JSON Schema of recipes, with the options of every installed plugin."""

from __future__ import annotations

import json

import click

from qcli.authoring.editor_schema import compose_schema
from qcli.catalog.load import load_catalog
from qcli.cli.options import plugin_options
from qcli.recipe.library import EXPERIMENT, KINDS


@click.command("schema")
@click.argument("kind", type=click.Choice((*KINDS, EXPERIMENT)))
@plugin_options
def command(kind: str, plugins: tuple[str, ...]) -> None:
    """Print the JSON Schema of recipes or of tables of experiments, for editors to complete."""
    from qcli.reporting.console import print_data

    print_data(json.dumps(compose_schema(kind, load_catalog(plugins)), indent=2))
