"""Pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "fields") -> str:
    """Return a table; on narrow screens each row becomes a block.

    Args:
        header: The names of the columns.
        rows: The cells, which are Markdown of one line.
        kind: A class for the style sheet.
    """
    lines = [_row(header), _row(["---"] * len(header)), *(_row(row) for row in rows)]
    return f'<div class="{kind}" markdown>\n\n' + "\n".join(lines) + "\n\n</div>\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(markup: str) -> str:
    """Put a cell on one line; in code a | needs no escape, and would keep it."""
    parts = re.split(r"(`[^`]*`)", " ".join(markup.split()))
    return "".join(part if part.startswith("`") else part.replace("|", "\\|") for part in parts)


def text(words: str) -> str:
    """Return prose in which nothing is markup, except for code between backticks."""
    parts = re.split(r"(`[^`]*`)", words)
    return "".join(part if part.startswith("`") else _escape(part) for part in parts)


def _escape(words: str) -> str:
    return re.sub(r"([*_<>\[\]{}#])", r"\\\1", words)


def code(value: str) -> str:
    """Return a piece of code; one that holds a backtick gets longer quotes."""
    fence = "``" if "`" in value else "`"
    return f"{fence}{value}{fence}"


def anchored(name: str, anchor: str) -> str:
    """Return a name that can be linked to, and links to itself."""
    return f"[{code(name)}](#{anchor}){{ #{anchor} }}"


def block(body: str, language: str = "") -> str:
    """Return a block of code."""
    return f"```{language}\n{body.rstrip()}\n```\n"


def fold(title: str, body: str) -> str:
    """Return what is shown when its title is clicked."""
    inner = "\n".join(f"    {line}".rstrip() for line in body.splitlines())
    return f'??? note "{title}"\n\n{inner}\n'
