"""A report from beginning to end: look at each run, draw, put together, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcli.reporting.report.curves import draw_curves
from qcli.reporting.report.facts import find_best
from qcli.reporting.report.html import Document, write_html
from qcli.reporting.report.page import RunPage, make_page
from qcli.reporting.report.picture import Picture, drawing, make_name
from qcli.reporting.report.table import Table, write_bytes, write_count, write_percent, write_text
from qcli.reporting.report.writing import filled, write_figures, write_report
from qcli.training.run_account import part_of

if TYPE_CHECKING:
    from qcli.training.inspection import InspectionOptions
    from qcli.training.run_account import RunAccount

RESULTS = (
    *("run", "network", "data set", "quantization", "state", "epochs"),
    *("best top-1", "last top-1", "weights", "bit operations"),
)


@dataclass(frozen=True)
class Made:
    """What was written.

    Args:
        path: The page; of curves alone, their folder.
        figures: How many figures lie beside it.
        left_out: By run, what is missing in the report and why.
    """

    path: Path
    figures: int
    left_out: Mapping[str, Sequence[str]]

    @property
    def notes(self) -> list[str]:
        """What is missing, for people."""
        several = len(self.left_out) > 1
        return [
            f"{f'{label}: ' if several else ''}left out: {text}"
            for label, texts in self.left_out.items()
            for text in texts
        ]

    def to_json(self) -> dict[str, Any]:
        """Return what was written as JSON."""
        return {
            "schema_version": 1,
            "path": str(self.path),
            "figures": self.figures,
            "left_out": {label: list(texts) for label, texts in self.left_out.items()},
        }


def draw_runs(accounts: Mapping[str, RunAccount], folder: Path) -> Made:
    """Draw the training curves of runs over each other, as files alone."""
    with drawing():
        pictures = draw_curves(accounts)
    with filled(folder) as place:
        write_figures(place, pictures)
    missing = {label: _lacks(account) for label, account in accounts.items()}
    return Made(folder, len(pictures), missing)


def report_runs(
    accounts: Mapping[str, RunAccount], folder: Path, options: InspectionOptions
) -> Made:
    """Look at runs, and write the report."""
    from qcli.training.inspection import inspect_run

    with drawing():
        pages = [
            make_page(label, account, inspect_run(account.path, options))
            for label, account in accounts.items()
        ]
        several = len(pages) > 1
        overlay = draw_curves(accounts) if several else []
    document = Document(
        "Report of " + (f"{len(pages)} runs" if several else pages[0].label),
        f"Made by qcli {metadata.version('qcli')} at {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        overlay,
        _tabulate(accounts, pages) if several else None,
        pages,
    )
    figures: list[tuple[str, Sequence[Picture]]] = [("", overlay)]
    for number, page in enumerate(pages, 1):
        place = make_name(number, page.label) if several else ""
        figures.append((place, list(page.pictures())))
    path = write_report(folder, write_html(document), figures)
    count = sum(len(pictures) for _, pictures in figures)
    return Made(path, count, {page.label: page.left_out for page in pages})


def _tabulate(accounts: Mapping[str, RunAccount], pages: Sequence[RunPage]) -> Table:
    """Return a row for each run."""
    rows = []
    for (label, account), page in zip(accounts.items(), pages, strict=True):
        totals = part_of(account.plan, "totals")
        last = account.rows[-1] if account.rows else {}
        rows.append(
            [
                label,
                write_text(account.record.get("architecture")),
                write_text(account.record.get("dataset")),
                write_text(account.quantization.get("name")) or "float",
                page.state.word,
                write_count(len(account.rows)),
                write_percent(find_best(account).get("top1")),
                write_percent(last.get("val_top1")),
                write_bytes(totals.get("weight_bytes")),
                write_count(totals.get("bit_operations")),
            ]
        )
    return Table(RESULTS, rows, words=5)


def _lacks(account: RunAccount) -> list[str]:
    return [] if account.rows else ["curves: no epoch of this run has ended yet"]
