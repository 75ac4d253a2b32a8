"""The page as HTML: everything that comes from files is escaped, nothing is loaded or executed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qcli.reporting.report.page import RunPage
from qcli.reporting.report.picture import Picture
from qcli.reporting.report.table import Table
from qcli.reporting.visible import make_visible


@dataclass(frozen=True)
class Document:
    """The whole page.

    Args:
        title: What stands above it.
        made: When and with what it was made.
        overlay: Curves of several runs over each other; empty for one.
        results: A row for each of several runs; None for one.
        runs: What is told of each.
    """

    title: str
    made: str
    overlay: Sequence[Picture]
    results: Table | None
    runs: Sequence[RunPage]


def write_html(document: Document) -> str:
    """Return the page as one file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("qcli.reporting.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_show,
    )
    environment.filters["drawn"] = lambda picture: Markup(make_visible(picture.inline))
    return environment.get_template("report.html").render(document=document)


def _show(value: Any) -> Any:
    """Spell out what cannot be seen, or turns text around; HTML, a subclass of str, stays."""
    return make_visible(value) if type(value) is str else value
