"""Values before and after quantization with the levels marked, as LQ-Nets' Fig. I draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qcli.reporting.report.picture import (
    BAR,
    LEVEL,
    SOFT,
    Picture,
    make_figure,
    make_name,
    show_text,
    take_picture,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from qcli.quantization.distribution import Distribution, Histogram

# Of more levels than this each marker would cover its neighbors.
MOST_MARKERS = 32
# A bar this many times as high as the next is cut: what is beside it could not be seen.
STEEPEST = 4.0


def draw_distribution(each: Distribution, number: int) -> Picture:
    """Draw one slot of one layer.

    Args:
        each: Its values.
        number: Which figure this is, which keeps names apart.
    """
    changes = bool(each.levels) or each.after is not None
    figure, axes = make_figure(4.6, 1.9, 2 if changes else 1)
    _draw_histogram(axes[0], each.before)
    axes[0].set_title(f"before: {each.count:,} float values" if changes else "float values")
    if each.levels:
        _draw_levels(axes[1], each)
        axes[1].set_title(f"after: {len(each.levels)} levels")
        axes[1].set_xlim(axes[0].get_xlim())
        _mark(axes, each.levels)
    elif each.after is not None:
        _draw_histogram(axes[1], each.after)
        axes[1].set_title("after: not rounded")
    for axis in axes:
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        axis.locator_params(axis="x", nbins=5)
    alt = f"{each.slot} of {show_text(each.layer)} before and after quantization"
    return take_picture(
        figure, make_name(f"{number:03}", each.layer.replace(".", "-"), each.slot), alt
    )


def _draw_histogram(axes: Axes, histogram: Histogram) -> None:
    width = (histogram.high - histogram.low) / len(histogram.counts)
    edges = [histogram.low + number * width for number in range(len(histogram.counts) + 1)]
    axes.stairs(histogram.counts, edges, fill=True, color=BAR)
    axes.set_xlim(histogram.low - 2 * width, histogram.high + 2 * width)
    _cut(axes, histogram.counts, edges[:-1], sum(histogram.counts) + histogram.outside)


def _draw_levels(axes: Axes, each: Distribution) -> None:
    """Draw one bar for each level, as one path: 256 patches would make large files."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    gaps = [high - low for low, high in zip(each.levels, each.levels[1:], strict=False)]
    half = 0.3 * min((gap for gap in gaps if gap > 0), default=1.0)
    bars = [
        Path.make_compound_path(Path([(x - half, 0), (x - half, y), (x + half, y), (x + half, 0)]))
        for x, y in zip(each.levels, each.used, strict=True)
        if y
    ]
    if bars:
        axes.add_patch(PathPatch(Path.make_compound_path(*bars), facecolor=BAR, linewidth=0))
    axes.set_ylim(0, 1.08 * max(*each.used, 1))
    _cut(axes, each.used, each.levels, each.count)


def _cut(axes: Axes, counts: Sequence[int], places: Sequence[float], total: int) -> None:
    """Cut a bar that dwarfs all others, and say how many values it stands for."""
    first, second = (*sorted(counts, reverse=True), 0, 0)[:2]
    if not second or first <= STEEPEST * second:
        return
    top = 1.6 * second
    axes.set_ylim(0, top)
    text = f"{100 * first / max(1, total):.0f} %"
    place = places[list(counts).index(first)]
    axes.annotate(text, (place, top), (6, -4), textcoords="offset points", color=SOFT, va="top")


def _mark(axes: Sequence[Axes], levels: Sequence[float]) -> None:
    many = len(levels) > MOST_MARKERS
    marker, size = ("|", 3.0) if many else ("D", 4.0)
    for axis in axes:
        (marks,) = axis.plot(levels, [0] * len(levels), ls="", color=LEVEL, zorder=3)
        marks.set(marker=marker, markersize=size, clip_on=many)
