"""`qcli report`: what happened in runs, as one page and as figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from qcli.cli.options import is_main_process, json_option, measuring_options, plugin_options
from qcli.errors import UsageError


@click.command("report")
@click.argument("runs", nargs=-1, type=Path, required=True, metavar="RUN...")
@click.option(
    "-o", "--output", type=Path, metavar="DIR", help="The folder; default, for one run: RUN/report."
)
@click.option(
    "--curves", is_flag=True, help="Draw the training curves alone, as figures, without a page."
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="TEXT",
    help="What a run is called; once for each RUN, in their order; default: their folders' names.",
)
@click.option(
    "--images",
    type=click.IntRange(1),
    help="How many test images are measured; default: all, of a large network as many as take "
    "about a minute.",
)
@measuring_options
@json_option
@plugin_options
def command(
    runs: tuple[Path, ...],
    output: Path | None,
    curves: bool,
    labels: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Show what happened in runs: curves, layers, levels, classes, proof, and how to repeat it.

    Writes DIR/report.html, which needs no other file and no network, and DIR/figures. What a run
    lacks, or what its data set would show where it is not at hand, is left out and said.
    """
    from qcli.reporting.console import print_data, say
    from qcli.reporting.next_steps import after_report, say_next
    from qcli.reporting.report.assembly import draw_runs, report_runs
    from qcli.reporting.report.page import label_runs
    from qcli.reporting.report.writing import require_folder
    from qcli.training.inspection import InspectionOptions
    from qcli.training.run_account import read_account

    if not is_main_process():
        return
    folder = output or _default(runs)
    if labels and len(labels) != len(runs):
        raise UsageError(f"--label: found {len(labels)}, allowed: one for each of {len(runs)} runs")
    if len(set(labels)) < len(labels):
        raise UsageError("--label: a label is there twice; allowed: another one for each run")
    if len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("a run is named twice; name each once")
    require_folder(folder)
    accounts = label_runs([read_account(run) for run in runs], labels)
    if curves:
        made = draw_runs(accounts, folder)
    else:
        made = report_runs(accounts, folder, InspectionOptions(**options))
    for text in made.notes:
        say(text)
    print_data(json.dumps(made.to_json(), indent=2) if as_json else str(made.path))
    if not (as_json or curves):
        say_next(after_report(made.path))


def _default(runs: tuple[Path, ...]) -> Path:
    if len(runs) > 1:
        raise UsageError("several runs make one report: name its folder with -o")
    return runs[0] / "report"
