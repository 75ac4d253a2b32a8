"""`qcli cite`: the papers and programs behind what was used, as BibTeX."""

from __future__ import annotations

import json

import click

from qcli.catalog.catalog import Catalog
from qcli.catalog.citation import Reference, distinct, find_cited, make_note, read_references
from qcli.catalog.load import load_catalog
from qcli.cli.options import json_option, plugin_options
from qcli.recipe.cited import find_sources


@click.command("cite")
@click.argument("names", nargs=-1, metavar="[NAME|RUN]...")
@click.option(
    "--format",
    "form",
    type=click.Choice(("bibtex", "plain")),
    default="bibtex",
    show_default=True,
    help="Entries for BibTeX, or sentences.",
)
@json_option
@plugin_options
def command(names: tuple[str, ...], form: str, as_json: bool, plugins: tuple[str, ...]) -> None:
    """Print what to cite: of methods, networks, data sets, recipes, experiments or runs.

    Of a run: the papers behind all that it used, and qcli. Without a name: qcli itself. What a
    plugin has no reference for is cited by the words of its source.
    """
    from qcli.reporting.console import print_data

    references = _collect(names or ("qcli",), load_catalog(plugins))
    if as_json:
        told = [{"key": each.key, "bibtex": each.bibtex, **each.fields} for each in references]
        print_data(json.dumps({"schema_version": 1, "references": told}, indent=2))
    elif form == "plain":
        print_data("\n".join(each.plain() for each in references))
    else:
        print_data("\n\n".join(each.bibtex for each in references))


def _collect(names: tuple[str, ...], catalog: Catalog) -> list[Reference]:
    """Return the references of all names, each once."""
    from qcli.reporting.console import say

    known = read_references(catalog)
    found: list[Reference] = []
    for name in names:
        sources = [("qcli", "qcli")] if name == "qcli" else find_sources(name, catalog)
        for label, source in sources:
            if source:
                found += find_cited(source, known) or [make_note(label, source)]
            else:
                say(f"warning: nothing is known of {label}, which no plugin offers: give --plugin")
    return distinct(found)
