"""The C functions that compute each number of a tensor from those of the same place."""

from __future__ import annotations

from qcli.deployment.graph import Integers, Logits, Lookup, Quantize, Signs
from qcli_exporters.c99.function import Function, declare_parameters
from qcli_exporters.c99.program import Program, Step
from qcli_exporters.c99.result import make_result
from qcli_exporters.c99.result_text import type_of
from qcli_exporters.c99.table import Table, share_rows
from qcli_exporters.c99.template import fill

Elementwise = Quantize | Logits | Lookup | Signs


def write_elementwise(step: Step, node: Elementwise, number: int, program: Program) -> Function:
    """Write a quantization, the scores, a lookup or a change of signs.

    Args:
        step: What it reads.
        node: What it computes.
        number: Of the step.
        program: The tensors as they lie.
    """
    inputs = {key: program.stored[name].tensor for key, name in step.parameters.items()}
    stored = program.stored[node.name]
    order = None if stored.is_natural else stored.order
    text, tables = "", list[Table]()
    match node:
        case Quantize() | Logits():
            result = make_result(node, number, list(inputs.values()), order)
            value = result.call("c", [f"{key}[at]" for key in inputs])
            text, tables = f"{result.text}\n", list(result.tables)
        case Lookup():
            value, tables = _look_up(node, number, inputs["in0"].low, order)
        case Signs():
            value, tables = _sign(node, number, order)
    channels = node.output.shape[0]
    text += fill(
        "elementwise.c",
        number=number,
        parameters=declare_parameters(inputs.items(), node.output),
        pixels=stored.count // channels,
        channels=channels,
        result=value,
    )
    return Function(text, tuple(tables))


def _look_up(
    node: Lookup, number: int, low: int, order: Integers | None
) -> tuple[str, list[Table]]:
    table = node.table if order is None or len(node.table) == 1 else node.table[order]
    rows = share_rows([table])
    row = rows.name_row(f"rows_{number}", "c")
    place = f"{row} * {table.shape[1]} + in0[at]" if row != "0" else "in0[at]"
    offset = f" - {low}" if low > 0 else f" + {-low}" if low < 0 else ""
    value = f"({node.output.dtype}_t)lookup_{number}[{place}{offset}]"
    return value, rows.make_tables([f"lookup_{number}"], f"rows_{number}")


def _sign(node: Signs, number: int, order: Integers | None) -> tuple[str, list[Table]]:
    rows = share_rows([node.signs if order is None else node.signs[order]])
    row = rows.name_row(f"rows_{number}", "c")
    product = f"({type_of(node.output)})signs_{number}[{row}] * in0[at]"
    tables = rows.make_tables([f"signs_{number}"], f"rows_{number}")
    return f"({node.output.dtype}_t)({product})", tables
