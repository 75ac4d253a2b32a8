"""Quantizers drawn: the curve, its levels, its boundaries, and the gradient below it."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcli.errors import RunError

if TYPE_CHECKING:
    from qcli.quantization.transfer import Curve, Transfer

# Matplotlib wants a color of its own for what shall take the color of the text around it.
INK = "#010203"
# Both are told apart from white and from black paper.
VALUES, LEVELS = "#d55e00", "#0e9e73"
TRAINING = ("#56b4e9", "#3a9ad9", "#2f7cc4", "#7a74cf", "#b06ad0")
COLUMNS = 3
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "qcli",
    "font.family": "sans-serif",
    "font.size": 9.0,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
    ),
}


def draw_svg(transfers: Sequence[Transfer]) -> str:
    """Return an SVG document that takes the color of the text around it; always the same text.

    On its own it is black on light screens and white on dark ones.
    """
    file = io.StringIO()
    _save(transfers, file, format="svg", metadata={"Date": None, "Creator": None})
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
    svg = svg.replace(INK, "currentColor").replace("*{", ".qcli-plot *{", 1)
    dark = "@media(prefers-color-scheme:dark){svg.qcli-plot:root{color:#e8e8e8}}"
    svg = svg.replace("</style>", f"{dark}</style>", 1)
    # The families that matplotlib names are those of this machine.
    svg = re.sub(r"font-family: [^;\"]*", "font-family: sans-serif", svg)
    svg = re.sub(r"font: ([^;\"]*?px) [^;\"]*", r"font: \1 sans-serif", svg)
    return svg.replace("<svg ", '<svg class="qcli-plot" role="img" ', 1)


def plot_transfers(transfers: Sequence[Transfer], path: Path) -> None:
    """Write the curves to a .svg, .png or .pdf file.

    Raises:
        RunError: The file cannot be written.
    """
    try:
        if path.suffix == ".svg":
            path.write_text(draw_svg(transfers), "utf-8")
        else:
            _save(transfers, path)
    except OSError as error:
        raise RunError(f"--plot {path} cannot be written: {error}") from None


def _save(transfers: Sequence[Transfer], file: Any, **options: Any) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        columns = min(COLUMNS, len(transfers))
        rows = -(-len(transfers) // columns)
        figure = Figure(figsize=(3.6 * columns, 3.9 * rows))
        parts = figure.subfigures(rows, columns, squeeze=False).flatten()
        for part, transfer in zip(parts, transfers, strict=False):
            part.patch.set_alpha(0)
            _draw(part, transfer)
        figure.savefig(file, transparent=True, **options)


def _draw(part: Any, transfer: Transfer) -> None:
    upper, lower = part.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    part.subplots_adjust(left=0.17, right=0.95, top=0.92, bottom=0.12, hspace=0.12)
    x = transfer.x.numpy()
    is_soft = any(not curve.values.equal(transfer.values) for curve in transfer.training)
    for number, curve in enumerate(transfer.training):
        color = TRAINING[number % len(TRAINING)]
        if is_soft:
            upper.plot(x, curve.values.numpy(), color=color, linewidth=1, label=_moment(curve))
        if curve.slope is not None:
            lower.step(x, curve.slope.numpy(), where="mid", color=color, linewidth=1)
    values = transfer.values.numpy()
    upper.step(x, values, where="mid", color=VALUES, linewidth=1.4, label="evaluation")
    _mark(upper, transfer)
    noun = "weight" if transfer.slot == "weight" else "activation"
    upper.set_title(f"{noun}s, {len(transfer.levels)} levels", fontsize=10)
    upper.set_ylabel("q(x)")
    if is_soft:
        upper.legend(fontsize=7, framealpha=0, loc="upper left")
    if any(curve.slope is not None for curve in transfer.training):
        lower.set_ylabel("dq/dx")
        lower.set_xlabel(f"x, the {noun}")
    else:
        lower.remove()
        upper.tick_params(labelbottom=True)
        upper.set_xlabel(f"x, the {noun} that logits stand for")
    for axes in (upper, lower):
        axes.patch.set_alpha(0)


def _mark(axes: Any, transfer: Transfer) -> None:
    """Mark levels at the right edge, and boundaries as dotted lines."""
    x, levels = transfer.x.numpy(), transfer.levels.numpy()
    low, high = float(transfer.values.min()), float(transfer.values.max())
    inside = levels[(levels >= low) & (levels <= high)]
    axes.set_xlim(x[0], x[-1])
    axes.plot([x[-1]] * len(inside), inside, "<", color=LEVELS, clip_on=False, label="levels")
    for boundary in transfer.boundaries.numpy():
        axes.axvline(boundary, color=INK, linewidth=0.5, linestyle=":", alpha=0.8)


def _moment(curve: Curve) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in curve.annealed.items()) or "training"
