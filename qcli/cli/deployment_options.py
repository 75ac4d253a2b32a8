"""Options that `qcli export` and `qcli verify` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

SCALINGS = ("exact", "fixed16", "fixed32", "single-shift", "double-shift")


def deployment_options(function: F) -> F:
    """Add --scaling, --weights and --data-dir."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


_OPTIONS = (
    click.option(
        "--scaling",
        type=click.Choice(SCALINGS),
        default="exact",
        show_default=True,
        help="How sums are scaled; all but exact are coarser, and differ from the reference.",
    ),
    click.option(
        "--weights",
        type=click.Choice(["best", "last"]),
        default="best",
        show_default=True,
        help="Which epoch's weights.",
    ),
    click.option("-p", "--data-dir", type=Path, metavar="DIR", help="Where data sets lie."),
)
