"""The C functions of pools."""

from __future__ import annotations

from qcli.deployment.graph import MaxPool, SumPool
from qcli_exporters.c99.function import Function, declare_parameters
from qcli_exporters.c99.program import Program, Step
from qcli_exporters.c99.template import fill
from qcli_exporters.c99.window import Window

GREATER = "values[c] > result[c] ? values[c] : result[c]"
SUM = "result[c] + values[c]"


def write_pool(step: Step, node: MaxPool | SumPool, number: int, program: Program) -> Function:
    """Write the greatest or the sum of windows.

    Args:
        step: What it reads.
        node: What it computes.
        number: Of the step.
        program: The tensors as they lie.
    """
    source = program.stored[step.parameters["in0"]].tensor
    is_greatest = isinstance(node, MaxPool)
    channels, height, width = source.shape
    window = Window(
        (channels, height, width),
        (node.output.shape[1], node.output.shape[2]),
        node.kernel,
        node.stride,
        node.pads,
        node.dilation if isinstance(node, MaxPool) else (1, 1),
        channels,
    )
    text = fill(
        "pool.c",
        **window.fields(),
        number=number,
        parameters=declare_parameters([("in0", source)], node.output),
        in_type=f"{source.dtype}_t",
        out_type=f"{node.output.dtype}_t",
        start=node.output.low if is_greatest else 0,
        gathered=GREATER if is_greatest else SUM,
    )
    return Function(text)
