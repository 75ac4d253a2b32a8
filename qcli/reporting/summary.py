"""What a run came to, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qcli.reporting.console import format_bytes, format_seconds, percent, print_data, say


def print_result(path: Path, result: Mapping[str, Any], *, is_demo: bool) -> None:
    """Print the result to stdout, and the next steps to stderr."""
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
    for line in _next_steps(path, is_demo):
        say(line)


def _next_steps(path: Path, is_demo: bool) -> list[str]:
    steps = ["", "next:", f"  qcli eval {path}"]
    if not is_demo:
        return steps
    return [
        *steps,
        "  qcli train --quant-json lsq-w4a4                  another method on the same data",
        "  qcli plan -a resnet20 --quant-json search-2b      what a recipe would do",
        "  qcli list                                         everything that there is",
        "  qcli train -a resnet20 -d cifar10 -p DATA --train-json resnet20-cifar10-200ep "
        "--quant-json search-2b",
    ]
