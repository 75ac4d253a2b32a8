"""`qcli list`: what there is to name on a command line and in recipes."""

from __future__ import annotations

import json
from typing import Any

import click

from qcli.catalog.catalog import Catalog
from qcli.catalog.load import load_catalog
from qcli.cli.options import json_option, plugin_options
from qcli.errors import UsageError
from qcli.recipe.experiment import Row, load_tables
from qcli.recipe.library import KINDS as RECIPE_KINDS
from qcli.recipe.library import shipped_recipes

ENTRY_KINDS = ("quantizers", "architectures", "datasets", "exporters")
KINDS = (*ENTRY_KINDS, "recipes", "experiments", "plugins")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.option("--source", metavar="TEXT", help="Experiments whose source or id holds this text.")
@click.option("--network", metavar="NAME", help="Experiments on this network.")
@click.option("--dataset", metavar="NAME", help="Experiments on this data set.")
@click.option("--method", metavar="NAME", help="Experiments of this method; float for none.")
@json_option
@plugin_options
def command(
    kind: str | None, as_json: bool, plugins: tuple[str, ...], **filters: str | None
) -> None:
    """List one kind: quantizers, architectures, datasets, exporters, recipes, ...; or all."""
    from qcli.reporting.console import print_data, say

    given = {key: value for key, value in filters.items() if value is not None}
    if given and kind != "experiments":
        raise UsageError(f"--{next(iter(given))} filters experiments: qcli list experiments")
    catalog = load_catalog(plugins)
    kinds = [kind] if kind else list(KINDS)
    found = {each: rows_of(each, catalog) for each in kinds}
    if given:
        found["experiments"] = [row for row in found["experiments"] if _matches(row, given)]
    if as_json:
        print_data(json.dumps({"schema_version": 1, **found}, indent=2))
    else:
        _print(found)
    for problem in catalog.problems:
        say(f"warning: {problem}")


def rows_of(kind: str, catalog: Catalog) -> list[dict[str, Any]]:
    """Return the rows of one kind: {name, summary, source, distribution, version}."""
    if kind == "experiments":
        return [_experiment(row) for table in load_tables() for row in table.rows]
    if kind == "recipes":
        return [row for each in RECIPE_KINDS for row in _recipes(each)]
    if kind == "plugins":
        return [vars(record) for record in catalog.plugins]
    return [
        {
            "name": name,
            "summary": offer.entry.summary,
            "source": offer.entry.source,
            "distribution": offer.distribution,
            "version": offer.version,
        }
        for name, offer in catalog.of_kind(kind).items()
    ]


def _recipes(kind: str) -> list[dict[str, Any]]:
    rows = []
    for name, path in shipped_recipes(kind).items():
        value = json.loads(path.read_text("utf-8"))
        rows.append(
            {
                "name": name,
                "summary": f"{kind} recipe",
                "source": value.get("source", ""),
                "distribution": "qcli",
                "version": "",
            }
        )
    return rows


def _experiment(row: Row) -> dict[str, Any]:
    reported = row.reported.get("top1")
    told = f", {100 * reported:.2f} % reported" if reported is not None else ""
    method = row.quantization or "float"
    return {
        "name": row.id,
        "summary": f"{row.architecture} on {row.dataset_name}, {method}{told}",
        "source": row.source,
        "distribution": "qcli",
        "version": "",
        "network": row.architecture,
        "dataset": row.dataset_name,
        "method": method,
        "top1": reported,
    }


def _matches(row: dict[str, Any], given: dict[str, str]) -> bool:
    """Say whether a row has what the filters ask for; methods go by the recipe's first word."""
    wanted = dict(given)
    text = wanted.pop("source", "").lower()
    method = wanted.pop("method", row["method"])
    return (
        text in f"{row['name']} {row['source']}".lower()
        and method in (row["method"], row["method"].partition("-")[0])
        and all(row[key] == value for key, value in wanted.items())
    )


def _print(found: dict[str, list[dict[str, Any]]]) -> None:
    from qcli.reporting.tables import print_table

    for kind, rows in found.items():
        if kind == "plugins":
            columns = ("plugin", "distribution", "version", "state")
            cells = [
                [row["name"], row["distribution"], row["version"], row["problem"] or "ok"]
                for row in rows
            ]
        else:
            columns = (kind, "summary", "source", "from")
            cells = [
                [row["name"], row["summary"], row["source"], row["distribution"]] for row in rows
            ]
        print_table(columns, cells)
