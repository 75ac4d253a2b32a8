"""The table that a campaign ends with: for terminals, Markdown, LaTeX, spreadsheets, programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from qcli.reporting.console import print_data, say
from qcli.reporting.tables import print_table

if TYPE_CHECKING:
    from qcli.campaign.outcome import Outcome

COLUMNS = ("experiment", "n", "best", "last", "spread", "published", "difference", "verdict")


def print_outcomes(
    outcomes: Sequence[Outcome], tolerance: float, epochs_scale: float | None, style: str
) -> None:
    """Print ours beside the published numbers, in percent.

    Args:
        outcomes: One for each row.
        tolerance: What the verdicts allow, as a fraction.
        epochs_scale: What schedules were stretched by; None: full length.
        style: terminal, markdown, latex, csv or json.
    """
    if style == "json":
        print_data(json.dumps(_as_json(outcomes, tolerance, epochs_scale), indent=2))
        return
    print_styled(COLUMNS, [_cells(outcome) for outcome in outcomes], style)
    if epochs_scale is not None and epochs_scale != 1:
        say(f"epochs x {epochs_scale:g}: shortened or stretched schedules, not the published ones")
    say(
        f"top-1 in percent; spread: standard deviation over seeds; met: the mean lies at most "
        f"{100 * tolerance:g} points below the published number"
    )


def print_styled(columns: Sequence[str], rows: Sequence[Sequence[str]], style: str) -> None:
    """Print a table to stdout in one of the styles terminal, markdown, latex, csv."""
    if style == "terminal":
        print_table(columns, rows)
    else:
        write = {"markdown": _markdown, "latex": _latex, "csv": _csv}[style]
        print_data(write(columns, rows).rstrip("\n"))


def _cells(outcome: Outcome) -> list[str]:
    return [
        outcome.row.id,
        str(len(outcome.compared)),
        _mean(outcome.scores.best),
        _mean(outcome.scores.last),
        _points(outcome.spread),
        _points(outcome.row.reported.get("top1")),
        "" if outcome.difference is None else f"{100 * outcome.difference:+.2f}",
        outcome.verdict,
    ]


def _mean(values: Sequence[float]) -> str:
    return _points(sum(values) / len(values) if values else None)


def _points(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.2f}"


def _as_json(
    outcomes: Sequence[Outcome], tolerance: float, epochs_scale: float | None
) -> dict[str, Any]:
    rows = [
        {
            "id": outcome.row.id,
            **asdict(outcome.scores),
            "compare": outcome.row.compare,
            "mean": outcome.mean,
            "spread": outcome.spread,
            "published": outcome.row.reported.get("top1"),
            "difference": outcome.difference,
            "verdict": outcome.verdict,
        }
        for outcome in outcomes
    ]
    return {
        "schema_version": 1,
        "tolerance": tolerance,
        "epochs_scale": epochs_scale or 1,
        "rows": rows,
    }


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(line).replace("\n", " ") + " |\n" for line in lines)


def _latex(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join(f"{' & '.join(map(_escape, row))} \\\\\n" for row in rows)
    head = " & ".join(map(_escape, columns))
    form = "l" + "r" * (len(columns) - 1)
    return f"\\begin{{tabular}}{{{form}}}\n{head} \\\\\n\\hline\n{body}\\end{{tabular}}\n"


# What LaTeX would take for its own.
_ESCAPES: dict[str, str | int | None] = {character: f"\\{character}" for character in "&%$#_{}"}
_ESCAPES |= {"^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "\\": r"\textbackslash{}"}


def _escape(cell: str) -> str:
    return cell.translate(str.maketrans(_ESCAPES))


def _csv(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()
