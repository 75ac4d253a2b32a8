"""Options that `qcli export` and `qcli verify` share."""

from __future__ import annotations

import click

from qcli.cli.options import F, add_options, weights_options

SCALINGS = ("exact", "fixed16", "fixed32", "single-shift", "double-shift")


def deployment_options(function: F) -> F:
    """Add --scaling, --weights and --data-dir."""
    return add_options(function, _OPTIONS)


_OPTIONS = (
    click.option(
        "--scaling",
        type=click.Choice(SCALINGS),
        default="exact",
        show_default=True,
        help="How sums are scaled; all but exact are coarser, and differ from the reference.",
    ),
    weights_options,
)
