"""`qcli reproduce`: train rows of published tables, and compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qcli.cli.campaign_options import (
    campaign_options,
    make_campaign,
    print_cost,
    refuse_nan,
    run_campaign,
)
from qcli.cli.options import plugin_options
from qcli.errors import RunError, TargetError
from qcli.recipe.experiment import (
    Row,
    Table,
    load_tables,
    read_table,
    require_distinct,
    select_rows,
    with_parents,
)
from qcli.recipe.library import is_path

if TYPE_CHECKING:
    from qcli.campaign.job import Campaign
    from qcli.campaign.outcome import Outcome

FOLDER = Path("runs/reproduce")
# Two seeds of a small network differ by a few tenths of a point.
TOLERANCE = 0.5


@click.command("reproduce")
@click.argument("wanted", nargs=-1, required=True, metavar="ID|GLOB|TABLE.json...")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 100),
    callback=refuse_nan,
    metavar="POINTS",
    help=f"How far below the published top-1 the mean may lie, in percentage points; default: "
    f"{TOLERANCE}. Given, it judges shortened rows too.",
)
@campaign_options
@plugin_options
def command(wanted: tuple[str, ...], tolerance: float | None, **options: Any) -> None:
    """Train rows of published tables, after the rows that they start from, and compare.

    Finished runs are used again and interrupted ones go on: the same command may be typed again
    at any time. `qcli list experiments` lists the rows, `qcli show ID` tells all of one.

    Exit codes: 0 every published number was met, 1 a run failed, 4 one was missed.
    """
    tables, names = _read_tables(wanted)
    rows = select_rows(names, tables)
    folder = options["work_dir"] or FOLDER
    campaign = make_campaign(folder, options)
    jobs = campaign.jobs(with_parents(rows, tables))
    if options["dry_run"]:
        print_cost(jobs, options)
        return
    failures = run_campaign(jobs, folder, options)
    outcomes = _judge(rows, campaign, tolerance)
    _print(outcomes, tolerance, options)
    _raise_shortfall(outcomes, failures)
    if options["table_format"] != "json":
        from qcli.reporting.next_steps import after_campaign, say_next

        say_next(after_campaign(folder))


def _read_tables(wanted: Sequence[str]) -> tuple[list[Table], list[str]]:
    """Return all tables, the user's last, and what rows are selected by.

    Raises:
        UsageError: Two tables of the user have the same name or row.
    """
    own = {each: read_table(Path(each)) for each in dict.fromkeys(wanted) if is_path(each)}
    require_distinct(list(own.values()))
    # A row of the user's replaces a shipped one of the same id.
    tables = [*load_tables(), *own.values()]
    return tables, [own[each].name if each in own else each for each in wanted]


def _judge(rows: Sequence[Row], campaign: Campaign, tolerance: float | None) -> list[Outcome]:
    from qcli.campaign.outcome import judge

    allowed = TOLERANCE if tolerance is None else tolerance
    shortened = (campaign.epochs_scale or 1) < 1 and tolerance is None
    jobs = {row.id: campaign.jobs([row]) for row in rows}
    return [judge(jobs[row.id], allowed / 100, shortened=shortened) for row in rows]


def _print(outcomes: Sequence[Outcome], tolerance: float | None, options: dict[str, Any]) -> None:
    from qcli.reporting.outcomes import print_outcomes

    allowed = TOLERANCE if tolerance is None else tolerance
    print_outcomes(outcomes, allowed / 100, options["epochs_scale"], options["table_format"])


def _raise_shortfall(outcomes: Sequence[Outcome], failures: int) -> None:
    """Raise what the exit code is to tell.

    Raises:
        RunError: Runs failed.
        TargetError: A published number was missed.
    """
    from qcli.campaign.outcome import MISSED

    if failures:
        raise RunError(f"{failures} runs failed; the same command tries them again")
    missed = [outcome.row.id for outcome in outcomes if outcome.verdict == MISSED]
    if missed:
        raise TargetError(f"{len(missed)} of {len(outcomes)} rows missed: {', '.join(missed)}")
