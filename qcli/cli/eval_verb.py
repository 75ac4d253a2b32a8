"""`qcli eval`: measure the network of a run on the test set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from qcli.cli.options import is_main_process, json_option, measuring_options, plugin_options


@click.command("eval")
@click.argument("run", type=Path)
@measuring_options
@click.option(
    "--by-class", is_flag=True, help="Tell the scores of each class, and which it is taken for."
)
@json_option
@plugin_options
def command(run: Path, as_json: bool, by_class: bool, **options: Any) -> None:
    """Measure the network of RUN on the test set, with the weights that are deployed."""
    from qcli.reporting.evaluation import evaluation_to_json, print_evaluation
    from qcli.training.reevaluation import evaluate_run

    found = evaluate_run(run, **options)
    if not is_main_process():
        return
    if as_json:
        from qcli.reporting.console import print_data

        told = evaluation_to_json(found, run, options["weights"], by_class=by_class)
        print_data(json.dumps(told, indent=2))
    else:
        from qcli.reporting.next_steps import after_evaluation, say_next

        print_evaluation(found, run, options["weights"], by_class=by_class)
        say_next(after_evaluation(run, by_class=by_class))
