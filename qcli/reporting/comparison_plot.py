"""Accuracy plotted against what networks cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcli.errors import RunError

if TYPE_CHECKING:
    from qcli.campaign.comparison import Contender

COSTS = {"weight_bytes": "weight bytes", "bit_operations": "bit operations for one image"}


def plot_comparison(contenders: Sequence[Contender], path: Path) -> None:
    """Plot top-1 against weight bytes and bit operations; a line joins the widths of a method.

    Args:
        contenders: Runs, those of one recipe together.
        path: A .png, .svg or .pdf file.

    Raises:
        RunError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    axes = figure.subplots(1, len(COSTS), sharey=True)
    axes[0].set_ylabel("top-1, percent")
    for each, (cost, label) in zip(axes, COSTS.items(), strict=True):
        each.set(xscale="log", xlabel=label)
        each.tick_params(axis="x", which="minor", labelbottom=False)
        each.grid(alpha=0.3)
        for number, (method, family) in enumerate(_families(contenders).items()):
            _draw(each, method, family, cost, number)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    try:
        figure.savefig(path)
    except OSError as error:
        raise RunError(f"--plot {path} cannot be written: {error}") from None


def _families(contenders: Sequence[Contender]) -> dict[str, list[Contender]]:
    """Put the widths of a method together: dorefa-w1a2 and dorefa-w2a2 are both dorefa."""
    places = {(each.first.network, each.first.dataset) for each in contenders}
    families: defaultdict[str, list[Contender]] = defaultdict(list)
    for contender in contenders:
        first = contender.first
        where = f", {first.network} on {first.dataset}" if len(places) > 1 else ""
        families[first.method.partition("-")[0] + where].append(contender)
    return families


def _draw(axes: Any, method: str, family: Sequence[Contender], cost: str, number: int) -> None:
    ordered = sorted(family, key=lambda contender: getattr(contender.first, cost))
    axes.errorbar(
        [getattr(contender.first, cost) for contender in ordered],
        [100 * contender.best for contender in ordered],
        yerr=[100 * (contender.spread or 0) for contender in ordered],
        label=method,
        color=f"C{number % 10}",
        marker="osD^vPX*"[number // 10 % 8],
        linestyle="dotted",
        capsize=3,
    )
