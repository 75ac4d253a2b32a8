"""`qcli runs`: what runs there are and how they are, live ones too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qcli.cli.options import debug_option, json_option
from qcli.cli.stopping import stopped_by_signals
from qcli.errors import RunError, UsageError

if TYPE_CHECKING:
    from qcli.training.run_overview import RunOverview

FOLDER = Path("runs")
STATES = ("running", "unknown", "interrupted", "died", "failed", "finished", "damaged")


class ListByDefault(click.Group):
    """Lists where no other word comes first."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the word that is left out in front."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("runs", cls=ListByDefault)
@debug_option
def command() -> None:
    """List runs, or watch one; `qcli runs` alone is `qcli runs list`.

    Nothing is locked and nothing is written: a run that is under way is not disturbed.
    """


@command.command("list")
@click.argument("folders", nargs=-1, type=Path, metavar="[DIR...]")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Only these; repeatable."
)
@json_option
@debug_option
def list_runs(folders: tuple[Path, ...], states: tuple[str, ...], as_json: bool) -> None:
    """List the runs in DIR (default: runs), campaigns' too; live ones first, then the newest.

    running: its process lives. died: it is gone, and could not say why. unknown: it may live on
    another machine. damaged: a file of it cannot be read.
    """
    from qcli.reporting.console import say
    from qcli.reporting.runs import print_runs, print_runs_as_json
    from qcli.training.run_finding import read_runs, select_states

    folders = folders or (FOLDER,)
    found = [] if _nothing_yet(folders) else read_runs(folders)
    runs = select_states(found, states)
    if as_json:
        print_runs_as_json(runs)
    elif runs:
        print_runs(runs)
        _say_next(runs)
    elif found:
        say(f"{len(found)} runs, none of them {' or '.join(states)}")
    else:
        say(
            f"no run in {', '.join(map(str, folders))}; name another folder, as in qcli runs ., "
            "or make one: qcli train"
        )


def _say_next(runs: Sequence[RunOverview]) -> None:
    from qcli.reporting.next_steps import after_listing, say_next
    from qcli.training.run_finding import can_go_on

    live = [run.path for run in runs if run.state == "running"]
    say_next(after_listing(live, [run.path for run in runs if can_go_on(run)]))


def _nothing_yet(folders: tuple[Path, ...]) -> bool:
    """Say whether the folder that nobody named is not there: then there is no run yet."""
    return folders == (FOLDER,) and not FOLDER.exists()


@command.command("show")
@click.argument("run", type=Path)
@json_option
@debug_option
def show(run: Path, as_json: bool) -> None:
    """Show one run: its state, its last epochs, its curves."""
    from qcli.reporting.run_watch import print_run
    from qcli.reporting.runs import print_runs_as_json
    from qcli.training.run_inspection import read_overview

    _require_run(run)
    overview = read_overview(run, with_rows=not as_json)
    if as_json:
        print_runs_as_json([overview])
    else:
        print_run(overview)


def _require_run(run: Path) -> None:
    from qcli.training.run_finding import is_run

    if not is_run(run):
        what = "is no run directory" if run.exists() else "does not exist"
        raise UsageError(f"{run} {what}; list runs: qcli runs [DIR]")


@command.command("watch")
@click.argument("path", type=Path, default=FOLDER, metavar="[RUN|DIR]")
@debug_option
@click.pass_context
def watch(ctx: click.Context, path: Path) -> None:
    """Look on while a run goes on, or all those under way in DIR (default: runs), to their end.

    On a pipe it prints a line whenever an epoch ends. Exit codes: 0 every run finished, 1 one did
    not, 130 you stopped watching with Ctrl-C; the run goes on.
    """
    from qcli.reporting.console import say
    from qcli.reporting.run_watch import show_course
    from qcli.reporting.runs import short_reason
    from qcli.training.run_watching import choose_watched, follow

    try:
        with stopped_by_signals():
            runs = show_course(follow(choose_watched(path)))
    except KeyboardInterrupt:
        say("no longer watching; the run goes on")
        ctx.exit(130)
    failed = [run for run in runs if run.state != "finished"]
    if failed:
        told = "\n".join(f"{run.path}: {run.state}: {short_reason(run)}" for run in failed)
        raise RunError(told)
