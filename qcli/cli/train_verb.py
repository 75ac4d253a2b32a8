"""`qcli train`: train a network, or go on with a run."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qcli.catalog.catalog import Catalog
from qcli.catalog.load import load_catalog
from qcli.cli.options import (
    is_main_process,
    make_request,
    plugin_options,
    recipe_options,
    recipes_for,
)
from qcli.errors import UsageError
from qcli.recipe.setting import Request, Setting, resolve_setting

if TYPE_CHECKING:
    from qcli.reporting.console import TrainingReport

# What `qcli train` does with no recipe and no network.
DEMO = {"train_json": "lenet5-digits-20ep", "quant_json": "search-1b"}
MOST_THREADS = 1024


def _thread_choice(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> int | str | None:
    if value is None or value == "auto":
        return value
    if value.isascii() and value.isdecimal() and 1 <= int(value) <= MOST_THREADS:
        return int(value)
    raise click.BadParameter(
        f'found "{value}", allowed: auto, or a number from 1 to {MOST_THREADS}'
    )


@click.command("train")
@recipe_options
@click.option("-p", "--data-dir", type=Path, metavar="DIR", help="Where data sets lie.")
@click.option("--download", is_flag=True, help="Fetch the data set into the data directory.")
@click.option("--init-from", type=Path, metavar="RUN|FILE", help="Weights to start from.")
@click.option("--teacher", type=Path, metavar="RUN|FILE", help="A run to learn from (distill).")
@click.option("-o", "--work-dir", type=Path, metavar="DIR", help="The run directory; must be new.")
@click.option("--resume", type=Path, metavar="RUN", help="Go on with a run, bit for bit.")
@click.option("--epochs", type=click.IntRange(min=1), help="Train for fewer or more epochs.")
@click.option(
    "--epochs-scale",
    type=float,
    metavar="S",
    help="Train S times as long: epochs, milestones, periods and warm-ups are multiplied, in both "
    "recipes; a factor f for each epoch becomes f^(1/S).",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Key of everything random.")
@click.option("--cpu", is_flag=True, help="Leave GPUs alone.")
@click.option(
    "--threads",
    callback=_thread_choice,
    metavar="N|auto",
    help="CPU threads; auto: 1 or torch's choice, as measured at the start; default: torch's "
    "choice.",
)
@click.option(
    "--patience",
    type=click.FloatRange(0.01, 1440),
    metavar="MINUTES",
    help="How long processes wait for one another before they stop; default: 10.",
)
@click.option(
    "--tensorboard", is_flag=True, help="Write curves for TensorBoard into the run directory."
)
@click.option(
    "--tracker",
    "trackers",
    multiple=True,
    metavar="NAME",
    help="Tell a tracker that accelerate knows of each epoch: wandb, mlflow, tensorboard, ...; may "
    "be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop before training.")
@click.option(
    "--smoke",
    is_flag=True,
    help="Try everything in a minute, without data: two steps on made-up images, evaluation, "
    "export, verification.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print the plan and progress within epochs.")
@click.option("--save", is_flag=True, help="Accepted for old scripts: runs are always saved.")
@plugin_options
def command(**options: Any) -> None:
    """Train a network from a training recipe and a quantization recipe.

    With no argument, 1-bit weight search on the embedded digits. Without --quant-json, float.
    """
    from qcli.reporting.console import TrainingReport, say

    if options.pop("save"):
        say("--save: runs are always saved")
    if options["resume"]:
        _resume(options)
        return
    is_demo = not any(options[key] for key in ("train_json", "architecture", "dataset"))
    request = make_request(options)
    if is_demo:
        request = replace(
            request,
            train_json=DEMO["train_json"],
            quant_json=request.quant_json or DEMO["quant_json"],
        )
    catalog = load_catalog(options["plugins"])
    _require_training_recipe(request)
    setting = resolve_setting(request, catalog)
    for note in setting.notes if is_main_process() else ():
        say(note)
    verbose = options.pop("verbose")
    if verbose or options["dry_run"]:
        _print_plan(setting, catalog)
    if options["smoke"]:
        _smoke(setting, options, catalog, request)
    elif not options["dry_run"]:
        report = TrainingReport(quiet=not is_main_process(), verbose=verbose)
        _run(setting, options, catalog, report, is_demo=is_demo)


def _smoke(setting: Setting, options: dict[str, Any], catalog: Catalog, request: Request) -> None:
    from qcli.cli.smoke import run_smoke

    if options["dry_run"]:
        raise UsageError("--dry-run trains nothing, --smoke trains two steps; leave one out")
    run_smoke(setting, {**vars(request), **options}, catalog)


def _require_training_recipe(request: Request) -> None:
    if request.train_json is None:
        names = recipes_for(request.architecture, request.dataset)
        hint = f"; shipped ones that may fit: {', '.join(names)}" if names else ""
        raise UsageError(f"how to train is missing: give --train-json RECIPE{hint}")


def _run(
    setting: Setting,
    options: dict[str, Any],
    catalog: Catalog,
    report: TrainingReport,
    *,
    is_demo: bool = False,
) -> None:
    from qcli.reporting.next_steps import DEMO as DEMO_STEPS
    from qcli.reporting.next_steps import after_training, say_next
    from qcli.reporting.summary import print_result
    from qcli.training.record import SessionOptions
    from qcli.training.session import run_session

    session = SessionOptions(
        data_root=options["data_dir"],
        init_from=options["init_from"],
        teacher=options["teacher"],
        work_dir=options["work_dir"],
        cpu=options["cpu"],
        threads=options["threads"],
        plugins=options["plugins"],
        argv=sys.argv,
        resume=options["resume"],
        patience=options["patience"],
        trackers=(*options["trackers"], *(["tensorboard"] if options["tensorboard"] else ())),
    )
    try:
        path, result = run_session(setting, session, catalog, report)
    finally:
        report.close()
    if is_main_process():
        print_result(path, result)
        recipe = setting.quantization.name if setting.quantization else None
        steps = after_training(path, recipe, options["plugins"])
        say_next([*steps[:2], *DEMO_STEPS] if is_demo else steps)


def _resume(options: dict[str, Any]) -> None:
    """Go on with a run: what defines it comes from the run, and only from there."""
    from qcli.reporting.console import TrainingReport
    from qcli.training.false_start import require_begun
    from qcli.training.revival import read_setting
    from qcli.training.run_directory import RunDirectory
    from qcli.training.run_plugins import require_plugins

    may = {"resume", "data_dir", "teacher", "cpu", "plugins", "verbose", "threads", "patience"}
    may |= {"trackers", "tensorboard"}
    given = [name for name, value in options.items() if name not in may and _is_given(value)]
    if given:
        parameters = click.get_current_context().command.params
        flag = next(each.opts[-1] for each in parameters if each.name == given[0])
        raise UsageError(
            f"--resume takes everything from the run; leave out {flag}, or start a new run"
        )
    path: Path = options["resume"]
    require_begun(path)
    run = RunDirectory(path)
    record = run.record()
    run.require_recipes()
    run.require_unfinished()
    require_plugins(path, record, options["plugins"])
    if options["data_dir"] is None and record["data_root"]:
        options["data_dir"] = Path(record["data_root"])
    if options["teacher"] is None and record.get("teacher"):
        options["teacher"] = Path(record["teacher"])
    if options["threads"] in (None, "auto"):
        options["threads"] = record["threads"]
    options["cpu"] = options["cpu"] or record["cpu"]
    catalog = load_catalog(options["plugins"])
    report = TrainingReport(quiet=not is_main_process(), verbose=options["verbose"])
    _run(read_setting(path, catalog), options, catalog, report)


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and value != ()


def _print_plan(setting: Setting, catalog: Catalog) -> None:
    from qcli.cli.plan_verb import plan_without_weights
    from qcli.reporting.plan_tree import print_plan

    if is_main_process():
        print_plan(plan_without_weights(setting, catalog))
