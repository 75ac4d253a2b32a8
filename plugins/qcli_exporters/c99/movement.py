"""The C functions that move numbers: nested loops over places of two tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qcli.deployment.graph import Concat, Pad, Repeat, Reshape, Spread, Transpose
from qcli_exporters.c99.function import Function, declare_parameters
from qcli_exporters.c99.program import Program, Step
from qcli_exporters.c99.stored import Shape
from qcli_exporters.c99.template import fill

CLEAR = "for (int32_t i = 0; i < {}; i++) {{ out[i] = 0; }}"

Movement = Concat | Pad | Repeat | Spread | Transpose


@dataclass(frozen=True)
class Copy:
    """out[start + sum of i_k * to_k] = in[sum of i_k * from_k].

    Args:
        source: The C parameter that is read.
        axes: (length, from, to) of each loop, the innermost last.
        start: The first place that is written.
    """

    source: str
    axes: tuple[tuple[int, int, int], ...]
    start: int = 0

    def write(self, out_type: str) -> str:
        """Return the loops in C."""
        loops = [axis for axis in self.axes if axis[0] > 1] or [(1, 1, 1)]
        lines = [
            f"{'    ' * (k + 1)}for (int32_t i{k} = 0; i{k} < {length}; i{k}++) {{"
            for k, (length, _, _) in enumerate(loops)
        ]
        sources = " + ".join(f"i{k} * {a}" for k, (_, a, _) in enumerate(loops) if a) or "0"
        places = " + ".join(f"i{k} * {b}" for k, (_, _, b) in enumerate(loops))
        start = f"{self.start} + " if self.start else ""
        body = f"out[{start}{places}] = ({out_type}){self.source}[{sources}];"
        lines.append("    " * (len(loops) + 1) + body)
        lines += ["    " * (k + 1) + "}" for k in reversed(range(len(loops)))]
        return "\n".join(lines)


def write_movement(step: Step, node: Movement, number: int, program: Program) -> Function:
    """Write a padding, a spreading, an enlargement, a transposition or a joining.

    Args:
        step: What it reads.
        node: What it computes.
        number: Of the step.
        program: The tensors as they lie.
    """
    inputs = {key: program.stored[name].tensor for key, name in step.parameters.items()}
    copies = _plan_copies(node, {key: each.shape for key, each in inputs.items()})
    text = fill(
        "movement.c",
        number=number,
        parameters=declare_parameters(inputs.items(), node.output),
        clear=CLEAR.format(math.prod(node.output.shape)) if isinstance(node, Pad | Spread) else "",
        copies="\n".join(copy.write(f"{node.output.dtype}_t") for copy in copies),
    )
    return Function(text)


def write_rearrangement(step: Step, node: Reshape, number: int, program: Program) -> Function:
    """Write a copy in another order; arguments as in `write_movement`."""
    source, result = program.stored[step.parameters["in0"]], program.stored[node.name]
    text = fill(
        "rearrange.c",
        number=number,
        parameters=declare_parameters([("in0", source.tensor)], node.output),
        count=result.count,
        in_area=math.prod(source.frame[1:]),
        in_channels=source.frame[0],
        out_area=math.prod(result.frame[1:]),
        out_channels=result.frame[0],
        out_type=f"{node.output.dtype}_t",
    )
    return Function(text)


def strides_of(shape: Shape) -> tuple[int, ...]:
    """Return how far apart neighbors of each logical axis lie, channels last."""
    channels, *rest = shape
    return (1, *(channels * math.prod(rest[k + 1 :]) for k in range(len(rest))))


def _plan_copies(node: Movement, shapes: dict[str, Shape]) -> list[Copy]:
    to = strides_of(node.output.shape)
    shape = shapes["in0"]
    from_ = strides_of(shape)
    match node:
        case Concat():
            return _join(shapes, to)
        case Pad():
            start = sum(front * step for (front, _), step in zip(node.pads, to, strict=True))
            return [Copy("in0", _loops(shape, from_, to), start)]
        case Spread():
            down, across = node.stride
            return [Copy("in0", _loops(shape, from_, (1, to[1] * down, to[2] * across)))]
        case Repeat():
            (down, across), (channels, height, width) = node.factors, shape
            lengths = (channels, height, down, width, across)
            places = (1, to[1] * down, to[1], to[2] * across, to[2])
            return [Copy("in0", _loops(lengths, (1, from_[1], 0, from_[2], 0), places))]
        case Transpose():
            return [Copy("in0", _loops(node.output.shape, [from_[axis] for axis in node.axes], to))]


def _join(shapes: dict[str, Shape], to: Sequence[int]) -> list[Copy]:
    copies, start = [], 0
    for source, shape in shapes.items():
        copies.append(Copy(source, _loops(shape, strides_of(shape), to), start))
        start += shape[0]
    return copies


def _loops(
    lengths: Sequence[int], from_: Sequence[int], to: Sequence[int]
) -> tuple[tuple[int, int, int], ...]:
    """Return the loops with the channels, which lie side by side, innermost."""
    channels, *rest = zip(lengths, from_, to, strict=True)
    return (*rest, channels)
