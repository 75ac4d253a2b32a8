"""Borders, windows and pooling of integer types, of which onnxruntime's own kernels lack many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from qcli.deployment.graph import MaxPool, Pads, SumPool, Tensor
from qcli_exporters.onnx_integer.writer import Operand, Value, Writer

MOST = (1 << 31) - 2

Combine = Callable[[Value, Value], Value]


def crop(writer: Writer, operand: Operand, pads: Pads) -> tuple[Operand, Pads]:
    """Cut what negative pads take away; returns what is left, and the pads without them."""
    (top, bottom), (left, right) = pads
    kept: Pads = ((max(0, top), max(0, bottom)), (max(0, left), max(0, right)))
    if kept == pads:
        return operand, pads
    _, height, width = operand.tensor.shape
    starts = (max(0, -top), max(0, -left))
    ends = (height - max(0, -bottom), width - max(0, -right))
    value = slice_axes(writer, operand.value, (2, 3), starts, ends, (1, 1))
    return Operand(operand.tensor, value), kept


def slice_axes(
    writer: Writer,
    value: Value,
    axes: Sequence[int],
    starts: Sequence[int],
    ends: Sequence[int],
    steps: Sequence[int],
) -> Value:
    """Take every step-th from start to before end."""
    numbers = [writer.constant(list(each), "int64") for each in (starts, ends, axes, steps)]
    return writer.apply("Slice", value, *numbers)


def pad(writer: Writer, value: Value, pads: Sequence[tuple[int, int]], fill: int) -> Value:
    """Widen the last axes by (front, back) each."""
    if not any(front or back for front, back in pads):
        return value
    fronts, backs = zip(*pads, strict=True)
    axes = range(4 - len(pads), 4)
    return writer.apply(
        "Pad",
        value,
        writer.constant([*fronts, *backs], "int64"),
        writer.constant(fill, value.dtype),
        writer.constant(list(axes), "int64"),
    )


def max_pool(writer: Writer, node: MaxPool, operand: Operand) -> Value:
    """Take the greatest of each window: int32 or int64."""
    operand, pads = crop(writer, operand, node.pads)
    wide = "int32" if operand.reach <= MOST else "int64"
    value = pad(writer, writer.cast(operand.value, wide), pads, operand.tensor.low)

    def greater(first: Value, second: Value) -> Value:
        if wide == "int32":
            return writer.apply("Max", first, second)
        # onnxruntime's int64 Max is wrong in [2^31, 2^32) on x86.
        reached = writer.apply("GreaterOrEqual", first, second, dtype="bool")
        return writer.apply("Where", reached, first, second, dtype=wide)

    return _fold(writer, node, value, node.dilation, greater)


def sum_pool(writer: Writer, node: SumPool, operand: Operand) -> Value:
    """Add up each window: int32 or int64."""
    operand, pads = crop(writer, operand, node.pads)
    count = node.kernel[0] * node.kernel[1]
    wide = "int32" if operand.reach * count <= MOST else "int64"
    value = pad(writer, writer.cast(operand.value, wide), pads, 0)
    if is_global(node, operand.tensor):
        return writer.apply("ReduceSum", value, writer.constant([2, 3], "int64"), keepdims=1)
    return _fold(writer, node, value, (1, 1), lambda a, b: writer.apply("Add", a, b))


def is_global(node: SumPool, tensor: Tensor) -> bool:
    """Tell whether one window is the whole image."""
    return node.kernel == tensor.shape[1:] and not any(map(any, node.pads))


def _fold(
    writer: Writer,
    node: MaxPool | SumPool,
    value: Value,
    dilation: tuple[int, int],
    combine: Combine,
) -> Value:
    """Combine the places of the windows one by one, down and then across."""
    for axis in (0, 1):
        count, stride = node.output.shape[1 + axis], node.stride[axis]
        starts = [place * dilation[axis] for place in range(node.kernel[axis])]
        value = reduce(
            combine,
            [
                slice_axes(
                    writer,
                    value,
                    [2 + axis],
                    [start],
                    [start + (count - 1) * stride + 1],
                    [stride],
                )
                for start in starts
            ],
        )
    return value
