"""What a run is and came to, in a few words and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qcli.reporting.report.table import (
    write_bytes,
    write_count,
    write_percent,
    write_seconds,
    write_text,
)
from qcli.training.run_account import is_number, part_of

if TYPE_CHECKING:
    from qcli.training.run_account import RunAccount


@dataclass(frozen=True)
class State:
    """How far a run came.

    Args:
        word: One word.
        text: A sentence.
        is_good: Whether it ended as it should.
    """

    word: str
    text: str
    is_good: bool


def tell_state(account: RunAccount) -> State:
    """Return how far a run came, and what to type."""
    from qcli.training.run_inspection import read_overview

    overview = read_overview(account.path)
    total = account.training.get("epochs")
    of = f" of {total}" if is_number(total) else ""
    epochs = f"{len(account.rows) or 'none'}{of} epochs have ended"
    go_on = f"to go on with it: qcli train --resume {account.path}"
    match overview.state:
        case "finished":
            return State("finished", epochs, is_good=True)
        case "running":
            return State("running", f"{epochs}, and the run goes on", is_good=True)
        case "interrupted" | "failed" | "died":
            parts = (epochs, overview.reason, go_on if "--resume" not in overview.reason else "")
            return State(overview.state, "; ".join(filter(None, parts)), is_good=False)
    return State(overview.state, f"{epochs}; {overview.reason}", is_good=False)


def list_facts(account: RunAccount) -> list[tuple[str, str]]:
    """Return what people ask first, each with its name; what is not known is left out."""
    best, totals = find_best(account), account.plan.get("totals")
    totals = totals if isinstance(totals, dict) else {}
    memory, floats = totals.get("weight_bytes"), totals.get("float_weight_bytes")
    small = write_bytes(memory)
    if is_number(memory) and is_number(floats) and 0 < memory < floats:
        small += f", 1/{floats / memory:.3g} of float32"
    seconds = [row.get("train_seconds") for row in account.rows]
    last = account.rows[-1] if account.rows else {}
    facts = {
        "best top-1": f"{write_percent(best.get('top1'))} (epoch {best.get('epoch')})"
        if best
        else "",
        "last top-1": write_percent(last.get("val_top1")),
        "top-1 on the test set, held apart": write_percent(
            part_of(account.result, "test").get("top1")
        ),
        "network": write_text(account.record.get("architecture")),
        "data set": write_text(account.record.get("dataset")),
        "quantization": write_text(account.quantization.get("name")) or "none: a float network",
        "starts from": write_text(account.record.get("init_from")),
        "teacher": write_text(account.record.get("teacher")),
        "weights": small,
        "bit operations": write_count(totals.get("bit_operations")),
        "training time": write_seconds(sum(each for each in seconds if is_number(each)))
        if seconds
        else "",
    }
    return [(name, text) for name, text in facts.items() if text]


def find_best(account: RunAccount) -> Mapping[str, Any]:
    """Return the epoch and top-1 of the best epoch so far; empty where no epoch has ended."""
    best = part_of(account.result, "best")
    if is_number(best.get("top1")) and is_number(best.get("epoch")):
        return best
    by = account.training.get("select_by") or "top1"
    points = account.series(f"val_{by}")
    if not points:
        return {}
    sign = -1 if by == "loss" else 1
    epoch, _ = max(points, key=lambda point: sign * point[1])
    return {"epoch": epoch, "top1": dict(account.series("val_top1")).get(epoch)}
