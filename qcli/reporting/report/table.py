"""A table of a report, and how numbers are written in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qcli.reporting.console import format_bytes, format_seconds, percent
from qcli.training.run_account import is_number


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Args:
        columns: What stands above each.
        rows: As many cells each.
        words: How many columns, from the left, hold words; numbers are set to the right.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1


def write_percent(value: Any) -> str:
    """Return a fraction as a percentage; "" for what is no number."""
    return percent(value) if is_number(value) else ""


def write_count(value: Any) -> str:
    """Return a whole number with commas; "" for what is none, and for 0."""
    return f"{value:,.0f}" if is_number(value) and value else ""


def write_number(value: Any) -> str:
    """Return a number with four digits; "" for what is none."""
    return f"{value:.4g}" if is_number(value) else ""


def write_bytes(value: Any) -> str:
    """Return a size; "" for what is none, and for 0."""
    return format_bytes(int(value)) if is_number(value) and value > 0 else ""


def write_seconds(value: Any) -> str:
    """Return a time span; "" for what is none."""
    return format_seconds(value) if is_number(value) and value >= 0 else ""


def write_text(value: Any) -> str:
    """Return text; "" for what is none."""
    return value if isinstance(value, str) else ""
