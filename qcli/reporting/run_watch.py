"""A run as it goes on: a view on a terminal, a line for each change elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from qcli.reporting.console import (
    SafeConsole,
    format_seconds,
    make_console,
    percent,
    print_data,
)
from qcli.reporting.runs import (
    STYLES,
    fit_table,
    printable,
    short_reason,
    tell_age,
    tell_best,
    tell_epochs,
    tell_left,
)
from qcli.reporting.sparkline import draw_sparkline
from qcli.reporting.tables import make_table, print_table

if TYPE_CHECKING:
    from qcli.training.run_overview import RunOverview

LAST_EPOCHS = 8
COLUMNS = ("epoch", "train loss", "train", "val loss", "val", "lr", "images/s", "")


def show_course(course: Iterable[Sequence[RunOverview]]) -> list[RunOverview]:
    """Show how some runs go on until none is under way; return how they are then."""
    # One that cuts lines: the terminal's own line breaks would shift what is drawn over.
    console = SafeConsole(highlight=False)
    if console.is_terminal:
        return _show_live(course, console)
    told: dict[str, str] = {}
    runs: Sequence[RunOverview] = ()
    for runs in course:
        for run in runs:
            line = tell_line(run)
            if told.get(str(run.path)) != line:
                told[str(run.path)] = line
                print_data(line)
    return list(runs)


def _show_live(course: Iterable[Sequence[RunOverview]], console: Console) -> list[RunOverview]:
    runs: Sequence[RunOverview] = ()
    # Drawn when there is something to draw: a thread of its own would wake up in between.
    with Live(console=console, auto_refresh=False) as live:
        for runs in course:
            view = make_view(runs[0], console) if len(runs) == 1 else fit_table(runs, console)
            live.update(view, refresh=True)
    return list(runs)


def tell_line(run: RunOverview) -> str:
    """Return what changes when an epoch has ended or the state is another one."""
    parts = [printable(str(run.path)), run.state]
    if run.total_epochs is not None:
        parts.append(f"epoch {run.epochs} of {run.total_epochs}")
    if run.rows:
        last = run.rows[-1]
        parts.append(f"loss {last['train_loss']:.4f}  val {percent(last['val_top1'])}")
        parts.append(f"best {tell_best(run)}")
    return "  ".join([*parts, *([short_reason(run)] if run.reason else [])])


def print_run(run: RunOverview) -> None:
    """Print a run with its last epochs to stdout."""
    console = make_console(stderr=False)
    if console.is_terminal:
        console.print(make_view(run, console))
        return
    print_table(("", ""), [[name, text] for name, text in _facts(run).items()])
    if run.rows:
        print_data("")
        print_table(COLUMNS, _epochs(run))


def make_view(run: RunOverview, console: Console) -> RenderableType:
    """Return the view of one run: where it is, its last epochs, its curves."""
    parts: list[RenderableType] = [_title(run)]
    if run.fraction is not None:
        parts.append(_bar(run))
    if run.reason:
        parts.append(Text(short_reason(run)))
    if run.rows:
        parts += [Text(), make_table(COLUMNS, _epochs(run)), Text(), *_curves(run, console)]
    return Group(*parts)


def _title(run: RunOverview) -> Text:
    what = " ".join(_what(run))
    return Text.assemble(
        (printable(str(run.path)), "bold"), "  ", (run.state, STYLES[run.state]), f"  {what}"
    )


def _what(run: RunOverview) -> list[str]:
    names = (("", run.architecture), ("on ", run.dataset), ("with ", run.recipe))
    return [f"{word}{printable(name)}" for word, name in names if name]


def _bar(run: RunOverview) -> Table:
    words = [f"epoch {tell_epochs(run)}"]
    if tell_left(run):
        words.append(f"{tell_left(run)} left")
    if run.beat:
        words.append(f"step {run.beat.step:g} of {run.beat.steps:g}")
    if run.best:
        words.append(f"best {tell_best(run)}")
    grid = Table.grid(padding=(0, 2))
    grid.add_row(ProgressBar(1.0, run.fraction or 0.0, width=24), Text(", ".join(words)))
    return grid


def _curves(run: RunOverview, console: Console) -> list[Text]:
    ascii_only = console.options.ascii_only
    width = max(console.width - 24, 8)
    curves = []
    for name, column in (("val top-1", "val_top1"), ("train loss", "train_loss")):
        values = [row[column] for row in run.rows]
        curves.append(Text(f"{name:<12}{draw_sparkline(values, width, ascii_only=ascii_only)}"))
    return curves


def _facts(run: RunOverview) -> dict[str, str]:
    facts = {
        "run": printable(str(run.path)),
        "state": run.state,
        "because": short_reason(run),
        "what": " ".join(_what(run)),
        "epochs": tell_epochs(run),
        "best top-1": tell_best(run),
        "left": tell_left(run),
        "started": tell_age(run.started),
        "training": "" if run.train_seconds is None else format_seconds(run.train_seconds),
    }
    return {name: text for name, text in facts.items() if text}


def _epochs(run: RunOverview) -> list[list[str]]:
    best = run.best["epoch"] if run.best else None
    return [_epoch(row, is_best=row["epoch"] == best) for row in run.rows[-LAST_EPOCHS:]]


def _epoch(row: Mapping[str, Any], *, is_best: bool) -> list[str]:
    return [
        f"{row['epoch']:g}",
        f"{row['train_loss']:.4f}",
        percent(row["train_top1"]),
        f"{row['val_loss']:.4f}",
        percent(row["val_top1"]),
        f"{row['lr']:.3g}",
        f"{row['images_per_second']:,.0f}",
        "best" if is_best else "",
    ]
