"""What a run came to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcli.reporting.console import format_bytes, format_seconds, percent, print_data


def print_result(path: Path, result: Mapping[str, Any]) -> None:
    """Print the result to stdout."""
    best, last = result["best"], result["last"]
    where = "validation" if result["selected_on"] == "validation" else "test"
    by = result["selected_by"]
    selecting = f", {by} {percent(best[by])}" if by not in ("top1", "loss") else ""
    print_data(
        f"best {where} top-1 {percent(best['top1'])}{selecting} (epoch {best['epoch']}), "
        f"last {percent(last['top1'])}; "
        f"{result['epochs']} epochs, {format_seconds(result['train_seconds'])} of training"
    )
    if "test" in result:
        print_data(f"test top-1 of the best epoch {percent(result['test']['top1'])}")
    saved, plain = result["weight_bytes"], result["float_weight_bytes"]
    if saved < plain:
        print_data(
            f"weights take {format_bytes(saved)} instead of {format_bytes(plain)} as float32"
        )
    print_data(f"run directory: {path}")
