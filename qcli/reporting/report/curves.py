"""Training curves: one run, or several over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qcli.reporting.report.picture import (
    DASHES,
    SERIES,
    Picture,
    make_figure,
    set_epochs,
    set_logarithmic,
    show_text,
    take_picture,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from qcli.training.run_account import Point, RunAccount

# By figure: its title, the axis, the columns of metrics.jsonl, the factor on them.
CURVES: Mapping[str, tuple[str, str, Sequence[str], float]] = {
    "top1": ("top-1 accuracy", "percent", ("val_top1", "train_top1"), 100.0),
    "loss": ("loss", "", ("val_loss", "train_loss"), 1.0),
    "lr": ("learning rate", "", ("lr",), 1.0),
    "temperature": ("temperature", "", ("temperature",), 1.0),
}
MOST_LABELS = 12
# Training curves of more runs than these would hide the others.
MOST_DOTTED = 3


def draw_curves(accounts: Mapping[str, RunAccount]) -> list[Picture]:
    """Draw each curve that the runs have.

    Args:
        accounts: Runs by their labels.
    """
    return [picture for name in CURVES if (picture := _draw(name, accounts))]


def _draw(name: str, accounts: Mapping[str, RunAccount]) -> Picture | None:
    title, unit, columns, factor = CURVES[name]
    drawn = columns if len(accounts) <= MOST_DOTTED else columns[:1]
    found = {
        label: {column: points for column in drawn if (points := account.series(column))}
        for label, account in accounts.items()
    }
    if not any(found.values()):
        return None
    figure, (axes,) = make_figure(4.4, 3.0)
    for number, (label, series) in enumerate(found.items()):
        for column, points in series.items():
            text = _label(label, column, accounts)
            _plot(axes, points, factor, text, number, column)
    axes.set(title=title, ylabel=unit)
    set_epochs(axes)
    values = [value for series in found.values() for each in series.values() for _, value in each]
    if name != "top1" and min(values) > 0 and max(values) > 50 * min(values):
        set_logarithmic(axes)
    if len(found) > 1 or len(columns) > 1:
        _add_legend(axes)
    return take_picture(figure, name, f"{title} over epochs")


def _label(label: str, column: str, accounts: Mapping[str, RunAccount]) -> str:
    """Return a legend entry: of several runs the dotted training curves need none."""
    if len(accounts) == 1:
        held_out = accounts[label].training.get("select_on") == "validation"
        words = {"val": "held-out images" if held_out else "test", "train": "training"}
        return words.get(column.partition("_")[0], "")
    return "" if column.startswith("train") else show_text(label)


def _plot(
    axes: Axes, points: Sequence[Point], factor: float, label: str, number: int, column: str
) -> None:
    second = column.startswith("train")
    axes.plot(
        [epoch for epoch, _ in points],
        [factor * value for _, value in points],
        label=label or "_hidden",
        color=SERIES[number % len(SERIES)],
        linestyle=":" if second else DASHES[number // len(SERIES) % len(DASHES)],
        linewidth=1.2 if second else 1.5,
        marker="." if len(points) < 3 else "",
    )


def _add_legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        shown = [label if len(label) < 40 else f"{label[:38]}.." for label in labels]
        axes.legend(handles[:MOST_LABELS], shown[:MOST_LABELS], loc="best")
