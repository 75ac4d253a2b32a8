"""Which kernel computes which operation."""

from __future__ import annotations

from qcli.deployment.graph import (
    Concat,
    Convolution,
    Logits,
    Lookup,
    MaxPool,
    Pad,
    Quantize,
    Repeat,
    Reshape,
    Signs,
    Spread,
    SumPool,
    Transpose,
)
from qcli_exporters.c99.convolution import write_convolution
from qcli_exporters.c99.elementwise import write_elementwise
from qcli_exporters.c99.function import Function
from qcli_exporters.c99.movement import write_movement, write_rearrangement
from qcli_exporters.c99.pool import write_pool
from qcli_exporters.c99.program import Program, Step


def write_step(step: Step, number: int, program: Program) -> Function:
    """Write the C function of a step.

    Args:
        step: What it computes.
        number: Of the step, in its name.
        program: The tensors as they lie.
    """
    if step.product is not None:
        return write_convolution(step, step.product, number, program)
    match step.node:
        case Convolution() as node:
            return write_convolution(step, node, number, program)
        case Quantize() | Logits() | Lookup() | Signs() as node:
            return write_elementwise(step, node, number, program)
        case MaxPool() | SumPool() as node:
            return write_pool(step, node, number, program)
        case Concat() | Pad() | Repeat() | Spread() | Transpose() as node:
            return write_movement(step, node, number, program)
        case Reshape() as node:
            return write_rearrangement(step, node, number, program)
    raise TypeError(f"{step.node.name}: no such operation: {type(step.node).__name__}")
