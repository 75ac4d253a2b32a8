"""`qcli bench`: how fast training is here, beside float and beside other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qcli.cli.options import debug_option, json_option
from qcli.errors import RunError, UsageError

if TYPE_CHECKING:
    from qcli.benchmark.case import Case
    from qcli.benchmark.result import Row
    from qcli.benchmark.runner import Conditions


@click.command("bench")
@click.argument("names", nargs=-1, metavar="[CASE...]")
@click.option("--all", "run_all", is_flag=True, help="Run every case; 20 minutes on two cores.")
@click.option(
    "--rounds",
    type=click.IntRange(1, 1000),
    default=30,
    show_default=True,
    help="The most rounds of a case; after 40 seconds it ends with fewer, but not below 5.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="CPU threads, where a case does not say them itself; default: torch's choice.",
)
@click.option(
    "-p",
    "--data-dir",
    type=Path,
    metavar="DIR",
    help="Where CIFAR-10 lies, or for packed-pipeline train/CLASS/ with photographs; without it "
    "random images of the same number and shape.",
)
@click.option("--busy", is_flag=True, help="Measure beside other work; times then get no verdict.")
@json_option
@debug_option
def command(
    names: tuple[str, ...],
    run_all: bool,
    rounds: int,
    threads: int | None,
    data_dir: Path | None,
    busy: bool,
    as_json: bool,
) -> None:
    """Measure CASE..., or list the cases.

    What is compared takes turns, A B A B, in one process, after a warm-up. A ratio is taken in each
    round; its median, and the quartiles around it, are told. Where the quartiles are 8 % of the
    median apart, there is no verdict. A machine whose load is more than half its cores is refused.
    """
    from qcli.benchmark.cases import CASES, find_cases

    if run_all and names:
        raise UsageError("--all runs every case; leave out the names, or --all")
    if not run_all and not names:
        _refuse_options_of_a_run()
        _list(CASES, as_json=as_json)
        return
    cases = CASES if run_all else find_cases(names)
    if data_dir and not any(case.reads_images for case in cases):
        readers = ", ".join(case.name for case in CASES if case.reads_images)
        raise UsageError(f"-p has no effect on these cases; those that read images: {readers}")
    _run(cases, rounds, threads, data_dir, busy=busy, as_json=as_json)


def _refuse_options_of_a_run() -> None:
    """Refuse options that would have no effect on the list."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = str(parameter.name)
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and name in ("rounds", "threads", "data_dir", "busy"):
            raise UsageError(f"{parameter.opts[-1]} needs a CASE to run, or --all")


def _list(cases: tuple[Case, ...], *, as_json: bool) -> None:
    from qcli.reporting.benchmark import print_cases, print_cases_as_json

    if as_json:
        print_cases_as_json(cases)
    else:
        print_cases(cases)


def _run(
    cases: tuple[Case, ...],
    rounds: int,
    threads: int | None,
    data_dir: Path | None,
    *,
    busy: bool,
    as_json: bool,
) -> None:
    """Run cases and print what they came to.

    Raises:
        RunError: The machine is busy, or a case failed.
    """
    from qcli.benchmark.machine import count_cores, describe_machine, read_load, require_idle

    load = read_load()
    if not busy:
        require_idle(load, count_cores())

    import torch

    from qcli.benchmark.protocol import Pace
    from qcli.benchmark.runner import Conditions
    from qcli.reporting.benchmark import print_machine, print_results, print_results_as_json

    if threads:
        torch.set_num_threads(threads)
    machine = describe_machine(load)
    print_machine(machine, data_dir)
    conditions = Conditions(data_dir, Pace(rounds), busy)
    rows = [row for case in cases for row in _run_one(case, conditions)]
    if as_json:
        print_results_as_json(rows, machine, conditions)
    else:
        print_results(rows)
    failed = {row.case.name: row.error for row in rows if row.error}
    if failed:
        text = f"what failed: {', '.join(failed)}"
        raise RunError(text) from next(iter(failed.values()))


def _run_one(case: Case, conditions: Conditions) -> list[Row]:
    """Run a case, and say at once what it came to."""
    from qcli.benchmark.runner import run_case
    from qcli.reporting.benchmark import say_rows

    rows = run_case(case, conditions)
    say_rows(rows)
    return rows
