"""Which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence

from qcli.reporting.report.picture import INK, RULE, Picture, make_figure, show_text, take_picture

# Numbers in the cells and names on the axes are readable up to so many classes.
MOST_NUMBERS = 15
MOST_NAMES = 40


def draw_confusion(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Picture:
    """Draw a confusion matrix, colored by the share of each true class.

    Args:
        counts: Images, rows by their true class, columns by the class that they are taken for.
        names: Of the classes.
    """
    from matplotlib.colors import LinearSegmentedColormap

    size = len(counts)
    shares = [[cell / max(1, sum(row)) for cell in row] for row in counts]
    figure, (axes,) = make_figure(4.8, 4.4)
    blues = LinearSegmentedColormap.from_list("report", ["#f4f8fd", "#3b7dd8", "#0b3d83"])
    axes.pcolormesh(
        shares, cmap=blues, vmin=0, vmax=1, edgecolors=RULE, linewidth=0.3 * (size < 50)
    )
    axes.set(xlabel="taken for", ylabel="true class", aspect="equal")
    axes.invert_yaxis()
    if size <= MOST_NUMBERS:
        for row, line in enumerate(counts):
            for column, cell in enumerate(line):
                if cell:
                    color = "#fefefe" if shares[row][column] > 0.4 else "#1f2329"
                    where = (column + 0.5, row + 0.5)
                    axes.text(*where, f"{cell:,}", ha="center", va="center", color=color, size=7.5)
    if size <= MOST_NAMES:
        labels = [show_text(name)[:16] for name in names]
        places = [each + 0.5 for each in range(size)]
        long = max(map(len, labels)) > 2
        axes.set_xticks(places, labels, rotation=90 if long else 0, color=INK)
        axes.set_yticks(places, labels, color=INK)
    return take_picture(figure, "confusion", "confusion matrix of the test images")
