"""Tables: the plan, and lists of what there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from qcli.reporting.console import SafeConsole, format_bytes, make_console
from qcli.reporting.visible import make_visible

if TYPE_CHECKING:
    from qcli.quantization.plan import LayerPlan, Plan, SlotPlan


def make_table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> Table:
    """Return a table without rules; cells are text, with a style or without, never markup."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(
            *[each if isinstance(each, Text) else Text(make_visible(each)) for each in row]
        )
    return table


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, stderr: bool = False
) -> None:
    """Print a table to stdout or stderr, as wide as it needs to be where that is no terminal."""
    console = make_console(stderr=stderr)
    if not console.is_terminal:
        console = SafeConsole(stderr=stderr, highlight=False, width=400)
    console.print(make_table(columns, rows))


def print_plan(plan: Plan) -> None:
    """Print the plan's rows and totals to stdout."""
    from qcli.quantization.cost import FORMULA, count_cost

    columns = ("layer", "type", "weight", "input", "output", "weights", "MACs", "because")
    print_table(columns, [_plan_row(row) for row in plan.layers])
    cost = count_cost(plan)
    quantized = [row for row in plan.layers if row.has_quantized_weight]
    layers = sum(row.weights > 0 for row in plan.layers)
    console = make_console(stderr=False)
    lines = (
        "",
        f"{len(quantized)} of {layers} layers have quantized weights; "
        f"{cost.parameters:,} parameters, {cost.weights:,} of them weights of layers",
        f"{cost.macs / 1e6:,.2f} million MACs, {cost.bit_operations / 1e9:,.3f} billion bit "
        f"operations for one image",
        f"weights take {format_bytes(cost.weight_bytes)} ({cost.weight_megabytes:.3f} MB) "
        f"instead of {format_bytes(cost.float_bytes)} as float32",
        FORMULA,
    )
    for line in lines:
        console.print(line, markup=False)


def _plan_row(row: LayerPlan) -> list[str]:
    slots = [_slot(row.slots[name], row, name) for name in ("weight", "input", "output")]
    macs = f"{row.macs:,}" if row.macs else ""
    weights = f"{row.weights:,}" if row.weights else ""
    return [row.layer, row.type, *slots, weights, macs, row.because]


def _slot(slot: SlotPlan | None, row: LayerPlan, name: str) -> str:
    if slot:
        return slot.label
    return "float" if row.weights or name == "output" else ""


def print_fields(fields: Mapping[str, str]) -> None:
    """Print names and texts to stdout, aligned."""
    print_table(("", ""), list(fields.items()))
