"""Figures as files for papers, and as SVG that takes the colors of the page around it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, RULE, PAPER = "#1f2328", "#59636e", "#d1d9e0", "#ffffff"
LEVEL, BAR, LINE = "#e8710a", "#3b7dd8", "#1a5fb4"
SERIES = ("#2a78d6", "#e8710a", "#2e9e63", "#c2408f", "#7a5fd0", "#b08a00", "#0f9aa8", "#d24a43")
# In a page, colors are those of its style: variables that differ in light and dark.
VARIABLES = {color: f"--series{number}" for number, color in enumerate(SERIES)}
VARIABLES |= {INK: "--ink", SOFT: "--soft", RULE: "--rule", LEVEL: "--level", BAR: "--bar"}
DASHES = ("-", "--", ":", "-.")

_STYLE: dict[str, Any] = {
    # Names of layers and classes are text, whatever dollars they hold.
    "text.parse_math": False,
    "svg.fonttype": "none",
    "font.size": 8.5,
    "axes.titlesize": 9.0,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.4,
}


@dataclass(frozen=True)
class Picture:
    """A figure.

    Args:
        name: Of its files, without a suffix.
        alt: What it shows, in words.
        svg: As a file.
        png: As a file; None: there is none.
        inline: The SVG as a part of a page, in the page's colors.
    """

    name: str
    alt: str
    svg: str
    png: bytes | None
    inline: str


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the style of reports."""
    from matplotlib import rc_context

    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the page has it as text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        # matplotlib's types know every setting by name; this is a plain mapping of some.
        style: Any = _STYLE
        with rc_context(style):
            yield


def make_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure of inches with axes beside each other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def take_picture(figure: Figure, name: str, alt: str) -> Picture:
    """Return a figure as files that are alike whenever they are drawn."""
    from matplotlib import rc_context

    vectors, pixels = io.StringIO(), io.BytesIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(vectors, format="svg", metadata={"Date": None, "Creator": None})
    # The layout holds for both files, and takes as long as drawing.
    figure.set_layout_engine("none")
    figure.savefig(pixels, format="png", dpi=150, metadata={"Software": None})
    svg = vectors.getvalue()
    return Picture(name, alt, svg, pixels.getvalue(), _make_inline(svg))


def set_epochs(axes: Axes) -> None:
    """Let the lower axis count epochs: whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.grid(visible=True)


def set_logarithmic(axes: Axes) -> None:
    """Let the left axis be logarithmic, with plain numbers: math is not set."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _make_inline(svg: str) -> str:
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # One page holds many figures, and an id must be the page's only one.
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = text.replace(f"fill: {PAPER}", "fill: none")
    for color, name in VARIABLES.items():
        text = text.replace(color, f"var({name})")
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    assert size is not None
    # Points of paper are pixels and a third: text keeps its size where there is room.
    width = round(float(size[1]) * 4 / 3)
    return re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>',
        rf'<svg viewBox="\1" role="img" style="max-width: {width}px">',
        text,
        count=1,
    )


def make_name(*parts: object) -> str:
    """Return a name for files that is safe everywhere, whatever layers are called."""
    text = re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(map(str, parts)))
    return text.strip("._-")[:80] or "figure"


def show_text(text: str) -> str:
    """Return text as it can be shown: what cannot be seen, or turns text around, is replaced."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def shade(number: int, count: int) -> str:
    """Return the color of one of many lines in an order: blue for the first, red for the last."""
    from colorsys import hls_to_rgb

    part = number / max(1, count - 1)
    red, green, blue = hls_to_rgb(0.6 * (1 - part), 0.5, 0.65)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def shades(names: Sequence[str]) -> dict[str, str]:
    """Return a color for each name, in order."""
    return {name: shade(number, len(names)) for number, name in enumerate(names)}
