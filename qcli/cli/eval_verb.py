"""`qcli eval`: measure the network of a run on the test set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from qcli.cli.options import is_main_process, json_option, plugin_options


@click.command("eval")
@click.argument("run", type=Path)
@click.option("-p", "--data-dir", type=Path, metavar="DIR", help="Where data sets lie.")
@click.option(
    "--weights",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="Which epoch's weights.",
)
@click.option("--cpu", is_flag=True, help="Leave GPUs alone.")
@click.option(
    "--threads", type=click.IntRange(1, 1024), help="CPU threads; default: torch's choice."
)
@json_option
@plugin_options
def command(run: Path, as_json: bool, **options: Any) -> None:
    """Measure the network of RUN on the test set, with the weights that are deployed."""
    from qcli.reporting.console import percent, print_data
    from qcli.training.reevaluation import evaluate_run

    metrics = evaluate_run(run, **options)
    if not is_main_process():
        return
    if as_json:
        print_data(
            json.dumps(
                {
                    "schema_version": 1,
                    "run": str(run),
                    "weights": options["weights"],
                    "top1": metrics.top1,
                    "top5": metrics.top5,
                    "loss": metrics.loss,
                    **metrics.class_scores,
                    "images": metrics.count,
                },
                indent=2,
            )
        )
        return
    by_class = "".join(f", {name} {percent(part)}" for name, part in metrics.class_scores.items())
    print_data(
        f"{run}, {options['weights']} weights, {metrics.count} test images: "
        f"top-1 {percent(metrics.top1)}, top-5 {percent(metrics.top5)}, loss {metrics.loss:.4f}"
        f"{by_class}"
    )
