"""The table of layers: what quantizes them, what they cost, how well their values fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qcli.reporting.report.table import Table, write_bytes, write_count, write_number, write_text
from qcli.training.run_account import is_number, list_of

if TYPE_CHECKING:
    from qcli.quantization.distribution import Distribution
    from qcli.training.run_account import RunAccount

COLUMNS = (
    *("layer", "type", "weight", "input", "output", "weights", "memory", "MACs"),
    *("bit operations", "weight SQNR, dB", "dead levels", "because"),
)


def tabulate_layers(account: RunAccount, weights: Sequence[Distribution]) -> Table | None:
    """Return a row for each layer of the plan; None where there is no plan.

    Args:
        account: The run.
        weights: Its weights, where they could be looked at.
    """
    rows = [row for row in list_of(account.plan, "layers") if isinstance(row, dict)]
    seen = {each.layer: each for each in weights}
    table = [_row(row, seen.get(write_text(row.get("layer")))) for row in rows]
    return Table(COLUMNS, table, words=5) if table else None


def count_memory(row: Mapping[str, Any]) -> int | None:
    """Return the bytes of a layer's weights, as `qcli plan` counts them."""
    weights, bits = row.get("weights"), row.get("weight_bits")
    if not (isinstance(weights, int) and isinstance(bits, int)):
        return None
    return -(-weights * bits // 8)


def count_bit_operations(row: Mapping[str, Any]) -> int | None:
    """Return MACs times the widths of both factors."""
    factors = [row.get(name) for name in ("macs", "weight_bits", "input_bits")]
    whole = [each for each in factors if isinstance(each, int)]
    return math.prod(whole) if len(whole) == len(factors) else None


def _row(row: Mapping[str, Any], seen: Distribution | None) -> list[str]:
    dead = f"{seen.dead} of {len(seen.levels)}" if seen and seen.levels else ""
    return [
        write_text(row.get("layer")),
        write_text(row.get("type")),
        *(_slot(row, name) for name in ("weight", "input", "output")),
        write_count(row.get("weights")),
        write_bytes(count_memory(row)),
        write_count(row.get("macs")),
        write_count(count_bit_operations(row)),
        write_number(seen.signal_to_noise) if seen else "",
        dead,
        write_text(row.get("because")),
    ]


def _slot(row: Mapping[str, Any], name: str) -> str:
    slot = row.get(name)
    if not isinstance(slot, dict):
        return "float" if row.get("weights") and name != "output" else ""
    bits = slot.get("bits")
    width = "" if not is_number(bits) else "float" if bits == 32 else f"{bits} bits"
    return f"{write_text(slot.get('quantizer'))} {width}".strip()
