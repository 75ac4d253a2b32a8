"""Methods side by side: a table, and accuracy plotted against cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qcli.reporting.console import format_bytes, format_seconds, print_data, say
from qcli.reporting.outcomes import print_styled

if TYPE_CHECKING:
    from qcli.campaign.comparison import Contender

COLUMNS = (
    *("network", "data set", "method", "n", "best", "spread", "last"),
    *("weight bytes", "10^9 bit operations", "training"),
)


def print_comparison(
    contenders: Sequence[Contender], unfairness: Sequence[str], style: str
) -> None:
    """Print a row for each method, accuracies in percent.

    Args:
        contenders: Runs, those of one method together.
        unfairness: What else differs between them.
        style: terminal, markdown, latex, csv or json.
    """
    if style == "json":
        rows = [_as_json(contender) for contender in contenders]
        value = {"schema_version": 1, "unfairness": list(unfairness), "rows": rows}
        print_data(json.dumps(value, indent=2))
        return
    cells = _raw_cells if style == "csv" else _cells
    print_styled(COLUMNS, [cells(contender) for contender in contenders], style)
    for text in unfairness:
        say(f"warning: {text}")
    say("top-1 in percent; spread: standard deviation over seeds; bit operations for one image")


def _cells(contender: Contender) -> list[str]:
    first = contender.first
    return [
        *_scores(contender),
        format_bytes(first.weight_bytes),
        f"{first.bit_operations / 1e9:,.3f}",
        format_seconds(contender.train_seconds),
    ]


def _raw_cells(contender: Contender) -> list[str]:
    """Return cells for programs: plain numbers, the time in seconds."""
    first = contender.first
    return [
        *_scores(contender),
        str(first.weight_bytes),
        str(first.bit_operations / 1e9),
        str(contender.train_seconds),
    ]


def _scores(contender: Contender) -> list[str]:
    first, spread = contender.first, contender.spread
    return [
        *(first.network, first.dataset, first.method, str(len(contender.runs))),
        f"{100 * contender.best:.2f}",
        "" if spread is None else f"{100 * spread:.2f}",
        f"{100 * contender.last:.2f}",
    ]


def _as_json(contender: Contender) -> dict[str, Any]:
    first = contender.first
    return {
        "network": first.network,
        "dataset": first.dataset,
        "method": first.method,
        "runs": [str(run.path) for run in contender.runs],
        "best": contender.best,
        "spread": contender.spread,
        "last": contender.last,
        "weight_bytes": first.weight_bytes,
        "bit_operations": first.bit_operations,
        "train_seconds": contender.train_seconds,
    }
