"""`qcli diff`: what differs between two runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qcli.cli.options import json_option, plugin_options
from qcli.errors import TargetError

if TYPE_CHECKING:
    from qcli.campaign.run_difference import RunDifference


@click.command("diff")
@click.argument("first", type=Path, metavar="RUN")
@click.argument("second", type=Path, metavar="RUN")
@click.option(
    "--weights",
    type=click.Choice(["best", "last"]),
    default="last",
    show_default=True,
    help="Which epoch's weights to compare.",
)
@click.option("--exit-code", is_flag=True, help="Exit with 4 where the runs are not the same.")
@json_option
@plugin_options
def command(
    first: Path,
    second: Path,
    weights: str,
    exit_code: bool,
    as_json: bool,
    plugins: tuple[str, ...],
) -> None:
    """Say what differs between two runs: recipes, plan, versions, machine, metrics, weights.

    Recipes are compared as they took effect, metrics epoch by epoch, weights bit for bit and,
    where they differ, code by code. Times are not compared. A run that is under way may be named.
    """
    from qcli.campaign.run_difference import compare_runs
    from qcli.reporting.console import print_data
    from qcli.reporting.difference import difference_to_json, print_difference

    found = _with_layers(compare_runs(first, second, weights), plugins)
    if as_json:
        print_data(json.dumps(difference_to_json(found), indent=2))
    else:
        print_difference(found)
    if exit_code and not found.is_same:
        raise TargetError(f"{first} and {second} are not the same")


def _with_layers(found: RunDifference, plugins: tuple[str, ...]) -> RunDifference:
    """Compare layer by layer where the weights differ: the networks must be built for that."""
    if found.weights.are_same is not False:
        return found
    from qcli.campaign.weight_difference import compare_layers

    layers = tuple(compare_layers(*found.paths, found.weights.name, plugins))
    return replace(found, weights=replace(found.weights, layers=layers))
