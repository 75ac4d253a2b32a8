"""Tables without rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from qcli.reporting.console import SafeConsole, make_console
from qcli.reporting.visible import make_visible


def make_table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> Table:
    """Return a table without rules; cells are text, with a style or without, never markup."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(
            *[each if isinstance(each, Text) else Text(make_visible(each)) for each in row]
        )
    return table


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, stderr: bool = False
) -> None:
    """Print a table to stdout or stderr, as wide as it needs to be where that is no terminal."""
    console = make_console(stderr=stderr)
    if not console.is_terminal:
        console = SafeConsole(stderr=stderr, highlight=False, width=400)
    console.print(make_table(columns, rows))


def print_fields(fields: Mapping[str, str]) -> None:
    """Print names and texts to stdout, aligned."""
    print_table(("", ""), list(fields.items()))
