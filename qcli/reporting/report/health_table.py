"""What the health watch recorded of every quantizer, and what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qcli.reporting.report.table import Table, write_number, write_percent, write_text
from qcli.training.run_account import is_number, list_of, part_of

if TYPE_CHECKING:
    from qcli.training.run_account import RunAccount

COLUMNS = (
    *("layer and slot", "levels in use", "fullest level", "in the end levels", "codes changed"),
    *("step", "clip", "scale", "entropy"),
)


def tabulate_health(account: RunAccount) -> Table | None:
    """Return the numbers after the last epoch; None where there are none."""
    last = part_of(account.rows[-1], "health") if account.rows else {}
    rows = []
    for place in last:
        numbers = part_of(last, place)
        levels, unused = numbers.get("levels"), numbers.get("unused")
        used = ""
        if is_number(levels) and is_number(unused):
            used = f"{levels - unused:g} of {levels:g}"
        ends = numbers.get("ends", numbers.get("top"))
        rows.append(
            [
                place,
                used,
                *(write_percent(each) for each in (numbers.get("fullest"), ends)),
                write_percent(numbers.get("flips")),
                *(write_number(numbers.get(name)) for name in ("step", "clip", "scale", "entropy")),
            ]
        )
    if not rows:
        return None
    kept = [number for number in range(len(COLUMNS)) if any(row[number] for row in rows)]
    return Table(
        [COLUMNS[number] for number in kept], [[row[number] for number in kept] for row in rows]
    )


def list_findings(account: RunAccount) -> list[str]:
    """Return what is sick, one sentence each."""
    if account.result:
        found = [each for each in list_of(account.result, "health") if isinstance(each, dict)]
        return [text for each in found if (text := write_text(each.get("text")))]
    return _judge(account)


def _judge(account: RunAccount) -> list[str]:
    """Judge the epochs so far of a run that has no result."""
    from qcli.quantization.verdict import judge

    rows = [health for row in account.rows if (health := part_of(row, "health"))]
    total = account.training.get("epochs")
    if not rows or not isinstance(total, int):
        return []
    try:
        return [finding.text for finding in judge(rows, total)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"metrics.jsonl is damaged: its health cannot be judged ({error})"]
