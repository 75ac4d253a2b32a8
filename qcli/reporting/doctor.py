"""What `qcli doctor` found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from qcli.reporting.console import make_console, print_data

if TYPE_CHECKING:
    from qcli.doctor.outcome import Outcome

_STYLES = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "bold red"}


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Print a line for each finding to stdout, and below it what to type."""
    rows = list(_rows(outcomes))
    console = make_console(stderr=False)
    if console.is_terminal:
        _print_folded(console, rows)
        return
    width = max(len(check) for _, check, _ in rows)
    for severity, check, text in rows:
        indent = " " * (11 + width)
        lines = text.splitlines() or [""]
        print_data(f"{severity:<7}  {check:<{width}}  {lines[0]}".rstrip())
        for line in lines[1:]:
            print_data(f"{indent}{line}")


def _rows(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, str, str]]:
    for outcome in outcomes:
        for finding in outcome.findings:
            yield finding.severity, outcome.check, finding.text
            if finding.remedy:
                yield "", "", f"type: {finding.remedy}"


def _print_folded(console: Console, rows: Sequence[tuple[str, str, str]]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for column in ("severity", "check"):
        table.add_column(column, no_wrap=True)
    table.add_column("found", overflow="fold")
    for severity, check, text in rows:
        style = _STYLES.get(severity, "")
        table.add_row(Text(severity, style=style), check, Text(text, style="" if check else "bold"))
    console.print(table)
