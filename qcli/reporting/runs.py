"""The runs that were found, as a table and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from qcli.reporting.console import format_seconds, make_console, percent, print_data, say
from qcli.reporting.tables import make_table, print_table
from qcli.reporting.visible import make_visible

if TYPE_CHECKING:
    from qcli.training.run_overview import RunOverview

SCHEMA_VERSION = 1
STYLES = {
    "running": "green",
    "unknown": "yellow",
    "interrupted": "yellow",
    "died": "red",
    "failed": "red",
    "finished": "blue",
    "damaged": "magenta",
}
COLUMNS = (
    *("run", "state", "epochs", "best top-1", "left", "network", "data set", "recipe"),
    *("started", "training"),
)
# What a narrow terminal leaves out first: names of run directories mostly tell it, too.
LEAST_NEEDED = ("training", "data set", "recipe", "network", "started")
LONGEST_REASON = 200


def print_runs(runs: Sequence[RunOverview]) -> None:
    """Print the runs to stdout, one line each, and to stderr why some are what they are."""
    console = make_console(stderr=False)
    if console.is_terminal:
        console.print(fit_table(runs, console))
    else:
        print_table(COLUMNS, [list(_cells(run).values()) for run in runs])
    for run in runs:
        if run.reason:
            say(f"{printable(str(run.path))}: {run.state}: {short_reason(run)}")


def fit_table(runs: Sequence[RunOverview], console: Console) -> Table:
    """Return the table with as many columns as a terminal has room for."""
    columns = list(COLUMNS)
    for name in ("", *LEAST_NEEDED):
        columns = [column for column in columns if column != name]
        cells = [_cells(run) for run in runs]
        rows = [[_styled(each, name) for name in columns] for each in cells]
        table = make_table(columns, rows)
        wide = console.options.update(max_width=10_000)
        if Measurement.get(console, wide, table).maximum <= console.width:
            break
    return table


def _styled(cells: Mapping[str, str], name: str) -> Text:
    return Text(cells[name], style=STYLES[cells["state"]] if name == "state" else "")


def _cells(run: RunOverview) -> dict[str, str]:
    cells = (
        printable(str(run.path)),
        run.state,
        tell_epochs(run),
        tell_best(run),
        tell_left(run),
        *(printable(name or "") for name in (run.architecture, run.dataset, run.recipe)),
        tell_age(run.started),
        _training(run),
    )
    return dict(zip(COLUMNS, cells, strict=True))


def printable(text: str) -> str:
    """Return a name from a file in one line, with what would command a terminal spelled out."""
    return make_visible(text).replace("\n", r"\n").replace("\t", r"\t")


def short_reason(run: RunOverview) -> str:
    """Return the first line of a reason, cut where it is very long."""
    line = printable((run.reason.splitlines() or [""])[0])
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}..."


def tell_epochs(run: RunOverview) -> str:
    """Return how many epochs have ended of how many, and of a live run how far it is."""
    if run.total_epochs is None:
        return ""
    part = f", {100 * run.fraction:.0f} %" if run.is_live and run.fraction is not None else ""
    return f"{run.epochs} of {run.total_epochs}{part}"


def tell_best(run: RunOverview) -> str:
    """Return the best accuracy with its epoch."""
    return f"{percent(run.best['val_top1'])} ({run.best['epoch']})" if run.best else ""


def tell_left(run: RunOverview) -> str:
    """Return about how long a live run will go on."""
    seconds = run.seconds_left
    if seconds is None:
        return ""
    return format_seconds(seconds if seconds < 10 else round(seconds)).replace(".0 s", " s")


def tell_age(moment: datetime | None) -> str:
    """Return how long ago something was; of another machine's clock it may be ahead."""
    if moment is None:
        return ""
    seconds = max((datetime.now(UTC) - moment).total_seconds(), 0)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _training(run: RunOverview) -> str:
    seconds = run.train_seconds
    return "" if seconds is None else format_seconds(seconds)


def print_runs_as_json(runs: Sequence[RunOverview]) -> None:
    """Print the runs to stdout as JSON."""
    document = {"schema_version": SCHEMA_VERSION, "runs": [run_to_json(run) for run in runs]}
    print_data(json.dumps(document, indent=2))


def run_to_json(run: RunOverview) -> dict[str, Any]:
    """Return a run as JSON; accuracies are 0..1, times are ISO 8601."""
    best, beat = run.best, run.beat
    return {
        "path": str(run.path),
        "state": run.state,
        "reason": run.reason,
        "architecture": run.architecture,
        "dataset": run.dataset,
        "recipe": run.recipe,
        "epochs": run.epochs,
        "total_epochs": run.total_epochs,
        "step": beat.step if beat else None,
        "steps_of_epoch": beat.steps if beat else None,
        "fraction": run.fraction,
        "best_epoch": best["epoch"] if best else None,
        "best_top1": _number(best["val_top1"]) if best else None,
        "train_seconds": run.train_seconds,
        "seconds_left": run.seconds_left,
        "started": run.started.isoformat() if run.started else None,
        "ended": run.ended.isoformat() if run.ended else None,
        "seen": beat.written.isoformat(timespec="seconds") if beat else None,
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
