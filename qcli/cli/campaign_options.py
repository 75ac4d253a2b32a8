"""Options of the verbs that run many runs."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from qcli.catalog.catalog import Catalog
from qcli.catalog.load import load_catalog
from qcli.cli.options import add_options
from qcli.errors import Interrupted, PlanError, UsageError

if TYPE_CHECKING:
    from qcli.campaign.executor import Executor
    from qcli.campaign.job import Campaign, Job

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("terminal", "markdown", "latex", "csv", "json")

_OPTIONS = (
    click.option("-p", "--data-dir", type=Path, metavar="DIR", help="Where data sets lie."),
    click.option("-o", "--work-dir", type=Path, metavar="DIR", help="Where the runs go."),
    click.option(
        "--seeds",
        type=click.IntRange(1, 1000),
        default=1,
        metavar="N",
        help="Train each row with the seeds 0 to N - 1.",
    ),
    click.option(
        "--epochs-scale",
        type=click.FloatRange(0, min_open=True),
        metavar="S",
        help="Train S times as long, schedules too; a shortened row is not judged.",
    ),
    click.option(
        "--jobs",
        type=click.IntRange(1, 256),
        default=1,
        metavar="N",
        help="How many runs share the machine at once.",
    ),
    click.option("--cpu", is_flag=True, help="Leave GPUs alone."),
    click.option(
        "--threads",
        type=click.IntRange(1, 1024),
        help="CPU threads of each run; default: the cores shared among the jobs.",
    ),
    click.option(
        "--executor",
        default="local",
        metavar="local|submitit[:CLUSTER]",
        help="Who runs the rows: this machine, or submitit (pip install qcli[slurm]), as in "
        "submitit:slurm.",
    ),
    click.option(
        "--executor-option",
        "executor_options",
        multiple=True,
        metavar="KEY=VALUE",
        help="A parameter of submitit, as in slurm_partition=gpu; may be repeated.",
    ),
    click.option("--dry-run", is_flag=True, help="Print what there is to do and what it costs."),
    click.option(
        "--format",
        "table_format",
        type=click.Choice(FORMATS),
        default="terminal",
        help="How the table is printed.",
    ),
)


def campaign_options(function: F) -> F:
    """Add the options that say where, how often and by whom rows are run."""
    return add_options(function, _OPTIONS)


def make_campaign(folder: Path, options: dict[str, Any]) -> Campaign:
    """Return the campaign that the options describe."""
    from qcli.campaign.job import Campaign

    words: list[str] = []
    if options["data_dir"]:
        words += ["-p", str(options["data_dir"])]
    if options["cpu"]:
        words += ["--cpu"]
    threads = options["threads"]
    if threads is None and options["jobs"] > 1:
        threads = max(1, (os.cpu_count() or 1) // options["jobs"])
    if threads:
        words += ["--threads", str(threads)]
    for plugin in options["plugins"]:
        words += ["--plugin", plugin]
    return Campaign(folder, tuple(range(options["seeds"])), options["epochs_scale"], tuple(words))


def run_campaign(jobs: Sequence[Job], folder: Path, options: dict[str, Any]) -> int:
    """Check all jobs, run those that are not finished, and return how many failed.

    Raises:
        QcliError: A job's recipes do not fit, or its folder holds another run.
        Interrupted: A signal arrived; what ran has saved its checkpoint.
    """
    from qcli.campaign.runner import Runner
    from qcli.reporting.campaign import CampaignReport

    _require_fit(jobs, load_catalog(options["plugins"]))
    runner = Runner(jobs, _make_executor(folder, options), CampaignReport(len(jobs)))
    with _signals_told():
        return runner.run()


def _require_fit(jobs: Sequence[Job], catalog: Catalog) -> None:
    """Refuse a campaign of which a row cannot be planned, or whose folders hold other runs.

    Raises:
        PlanError: All rows that do not fit, with their faults.
    """
    from qcli.cli.plan_verb import plan_without_weights

    faults, planned = [], set()
    for job in jobs:
        try:
            setting = job.setting(catalog)
            job.require_same(setting, catalog)
            if job.row.id not in planned and job.result() is None:
                plan_without_weights(setting, catalog)
            planned.add(job.row.id)
        except UsageError as error:
            faults += [f"{job.row.id}: {line}" for line in str(error).splitlines()]
    if faults:
        raise PlanError(list(dict.fromkeys(faults)))


def _make_executor(folder: Path, options: dict[str, Any]) -> Executor:
    from qcli.campaign.executor import LocalExecutor, SubmititExecutor

    name, _, cluster = options["executor"].partition(":")
    given = dict(_parse_option(text) for text in options["executor_options"])
    if name == "submitit":
        return SubmititExecutor(cluster or None, folder / "submitit", given)
    if options["executor"] != "local":
        raise UsageError(
            f'--executor: found "{options["executor"]}", allowed: local, submitit, submitit:CLUSTER'
        )
    if given:
        raise UsageError("--executor-option is for --executor submitit")
    return LocalExecutor(options["jobs"])


def _parse_option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--executor-option {text}: write KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


@contextmanager
def _signals_told() -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into a message that says how to go on."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(
            "interrupted; what ran has saved its checkpoint. The same command goes on", number
        )

    previous = {each: signal.signal(each, interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
