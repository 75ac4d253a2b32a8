"""What changed from epoch to epoch: levels, steps and clips, codes, undecided choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qcli.reporting.report.picture import (
    LEVEL,
    Picture,
    make_figure,
    make_name,
    set_epochs,
    set_logarithmic,
    shades,
    show_text,
    take_picture,
)

if TYPE_CHECKING:
    from qcli.training.run_account import Point, RunAccount

# By number of the health watch: the title, the unit, the factor.
COURSES: Mapping[str, tuple[str, str, float]] = {
    "step": ("step size", "", 1.0),
    "clip": ("clip", "", 1.0),
    "scale": ("scale", "", 1.0),
    "gain": ("gain", "", 1.0),
    "entropy": ("entropy of the search", "0: decided, 1: not at all", 1.0),
    "flips": ("weights whose code changed since the epoch before", "percent", 100.0),
    "unused": ("levels that no value has", "count", 1.0),
    "fullest": ("values in the fullest level", "percent", 100.0),
}
# More names than this make no legend: the colors go from the first layer to the last.
MOST_NAMES = 8


def draw_courses(account: RunAccount) -> list[Picture]:
    """Draw each number of the health watch for all layers together."""
    places = account.places()
    pictures = []
    for name, (title, unit, factor) in COURSES.items():
        courses = {place: points for place in places if (points := account.course(place, name))}
        # A line at 0, as of dead levels where there are none, shows nothing.
        if any(value for points in courses.values() for _, value in points):
            pictures.append(_draw(name, title, unit, factor, courses))
    return pictures


def draw_level_course(account: RunAccount, place: str, number: int) -> Picture | None:
    """Draw the levels of "layer.slot" over epochs; None where they were not recorded."""
    levels = [points for points in account.levels(place) if points]
    if not levels or len(levels[0]) < 2:
        return None
    figure, (axes,) = make_figure(4.6, 1.6)
    for points in levels:
        axes.plot(*zip(*points, strict=True), color=LEVEL, linewidth=1.0)
    set_epochs(axes)
    axes.set_title("levels over epochs" if len(levels) > 2 else "lowest and highest level")
    axes.locator_params(axis="y", nbins=4)
    name = make_name(f"{number:03}", place.replace(".", "-"), "levels")
    return take_picture(figure, name, f"levels of {show_text(place)} over epochs")


def _draw(
    name: str, title: str, unit: str, factor: float, courses: Mapping[str, Sequence[Point]]
) -> Picture:
    figure, (axes,) = make_figure(4.4, 3.0)
    for place, color in shades(list(courses)).items():
        axes.plot(
            [epoch for epoch, _ in courses[place]],
            [factor * value for _, value in courses[place]],
            color=color,
            label=show_text(place),
            linewidth=1.1,
            marker="." if len(courses[place]) < 3 else "",
        )
    values = [value for points in courses.values() for _, value in points]
    if min(values) > 0 and max(values) > 100 * min(values):
        set_logarithmic(axes)
    axes.set(title=title, ylabel=unit)
    set_epochs(axes)
    if len(courses) <= MOST_NAMES:
        figure.legend(loc="outside lower center", ncols=2)
    else:
        axes.set_xlabel("epoch; blue: first layer, red: last layer")
    return take_picture(figure, f"course-{name}", f"{title} of each layer over epochs")
