"""Options of the verbs that run many runs."""

from __future__ import annotations

import json
import math
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
from qcli.errors import Interrupted, PlanError, PluginError, RunError, UsageError

if TYPE_CHECKING:
    from qcli.campaign.executor import Executor
    from qcli.campaign.job import Campaign, Job

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("terminal", "markdown", "latex", "csv", "json")


def refuse_nan(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Refuse what no range contains and no range refuses."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("found nan, allowed: a number")
    return value


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
        type=click.FloatRange(1e-6, 1e6),
        callback=refuse_nan,
        metavar="S",
        help="Train S times as long, schedules too; a shortened row is not judged.",
    ),
    click.option(
        "--jobs",
        type=click.IntRange(1, 256),
        metavar="N",
        help="How many runs share the machine, and its GPUs in turn; default: 1. With submitit, "
        "how many are handed over at once; default: all.",
    ),
    click.option("--cpu", is_flag=True, help="Leave GPUs alone."),
    click.option(
        "--threads",
        type=click.IntRange(1, 1024),
        help="CPU threads of each run; default: with --jobs, the cores shared among them.",
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
    threads, is_local = options["threads"], options["executor"] == "local"
    if threads is None and is_local and options["jobs"]:
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

    require_fit(jobs, options)
    runner = Runner(jobs, _make_executor(folder, options), CampaignReport(len(jobs)))
    with _signals_told():
        return runner.run()


def print_cost(jobs: Sequence[Job], options: dict[str, Any]) -> None:
    """Check all jobs, and print what they will cost."""
    from qcli.campaign.estimate import estimate_jobs
    from qcli.reporting.campaign import print_estimates

    require_fit(jobs, options)
    catalog = load_catalog(options["plugins"])
    print_estimates(estimate_jobs(jobs, catalog, options["data_dir"], cpu=options["cpu"]))


def require_fit(jobs: Sequence[Job], options: dict[str, Any]) -> None:
    """Refuse a campaign of which something could be known to fail before anything starts.

    Raises:
        PluginError: The only faults are names that no plugin offers.
        PlanError: All rows whose recipes do not fit, whose folders hold other runs, or whose data
            are not there.
    """
    catalog = load_catalog(options["plugins"])
    faults: list[str] = []
    missing: list[str] = []
    checked: set[str] = set()
    for job in jobs:
        try:
            _require_fit(job, catalog, checked, options)
        except PluginError as error:
            missing.append(f"{job.row.id}: {error}")
        except (RunError, UsageError) as error:
            faults += [f"{job.row.id}: {line}" for line in str(error).splitlines()]
    if faults:
        raise PlanError(list(dict.fromkeys([*faults, *missing])))
    if missing:
        raise PluginError("\n".join(dict.fromkeys(missing)))


def _require_fit(job: Job, catalog: Catalog, checked: set[str], options: dict[str, Any]) -> None:
    """Check one job; `checked` remembers rows and data sets that are known to be right."""
    from qcli.cli.plan_verb import plan_without_weights
    from qcli.training.data import load_splits

    setting = job.setting(catalog)
    job.require_same(setting, catalog)
    if job.result() is not None:
        return
    if job.row.id not in checked:
        plan_without_weights(setting, catalog)
        checked.add(job.row.id)
    data = f"{setting.dataset} {setting.dataset_options} {setting.image_shape}"
    # Where a cluster trains, the data need not lie on this machine.
    is_here = options["executor"] == "local" and not options["dry_run"]
    if is_here and data not in checked:
        load_splits(setting, options["data_dir"])
        checked.add(data)


def _make_executor(folder: Path, options: dict[str, Any]) -> Executor:
    from qcli.campaign.executor import LocalExecutor, SubmititExecutor

    name, _, cluster = options["executor"].partition(":")
    given = dict(_parse_option(text) for text in options["executor_options"])
    if name == "submitit":
        return SubmititExecutor(cluster or None, folder / "submitit", options["jobs"], given)
    if options["executor"] != "local":
        raise UsageError(
            f'--executor: found "{options["executor"]}", allowed: local, submitit, submitit:CLUSTER'
        )
    if given:
        raise UsageError("--executor-option is for --executor submitit")
    return LocalExecutor(options["jobs"] or 1, _devices(options))


def _devices(options: dict[str, Any]) -> list[str]:
    """Return the GPUs that several jobs take in turn; none where they need not be told apart."""
    if options["cpu"] or (options["jobs"] or 1) == 1:
        return []
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    count = torch.cuda.device_count()
    names = [name for name in visible.split(",") if name] or [str(each) for each in range(count)]
    return names[:count] if count > 1 else []


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
            "interrupted; what ran saves its checkpoint. The same command goes on", number
        )

    previous = {each: signal.signal(each, interrupt) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
