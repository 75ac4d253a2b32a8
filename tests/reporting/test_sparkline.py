"""Curves in one line of text."""

import math

import pytest

from qcli.reporting.sparkline import draw_sparkline


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, "_.-~=+*#"),
        ([0, 7], 8, "_#"),
        ([0, 2, 6, 8], 2, "_#"),
        ([5, 5, 5], 8, "___"),
        ([0, math.nan, 1, math.inf], 8, "_ # "),
        ([], 8, ""),
        ([math.nan], 8, ""),
    ],
    ids=str,
)
def test_heights(values, width, drawn):
    assert draw_sparkline(values, width, ascii_only=True) == drawn


def test_blocks():
    assert draw_sparkline([0, 1], 8) == "\u2581\u2588"
