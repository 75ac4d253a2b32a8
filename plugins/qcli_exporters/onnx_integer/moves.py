"""Nodes that move values and compute none, or change each alone: the same in both forms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qcli.deployment.graph import (
    Concat,
    Logits,
    Lookup,
    Node,
    Pad,
    Repeat,
    Reshape,
    Signs,
    Spread,
    Transpose,
)
from qcli_exporters.onnx_integer.arithmetic import add_up
from qcli_exporters.onnx_integer.windows import pad, slice_axes
from qcli_exporters.onnx_integer.writer import Operand, Value, Writer


def move(writer: Writer, node: Node, operands: Sequence[Operand], dtype: str) -> Value:
    """Add a node that both forms write alike.

    Args:
        writer: What is written.
        node: The node.
        operands: What it takes.
        dtype: The type of what it makes.
    """
    match node:
        case Concat():
            values = [writer.cast(each.value, dtype) for each in operands]
            return writer.apply("Concat", *values, axis=1)
        case Logits():
            return add_up(writer, node, operands)
    return _move_one(writer, node, operands[0], dtype)


def _move_one(writer: Writer, node: Node, operand: Operand, dtype: str) -> Value:
    value = operand.value
    match node:
        case Lookup():
            return _look_up(writer, node, operand, dtype)
        case Spread():
            return _spread(writer, node, value)
        case Pad():
            return pad(writer, value, node.pads, 0)
        case Repeat():
            return _repeat(writer, node, operand)
        case Signs():
            wide = dtype if dtype not in ("uint8", "int8") else "int32"
            signs = writer.by_channel(node.signs, node.output, wide)
            return writer.apply("Mul", writer.cast(value, wide), signs)
        case Reshape():
            return writer.reshape(value, *node.output.shape)
        case Transpose():
            return writer.apply("Transpose", value, perm=[0, *(axis + 1 for axis in node.axes)])
    raise TypeError(f"{node.name}: no such operation: {type(node).__name__}")


def _look_up(writer: Writer, node: Lookup, operand: Operand, dtype: str) -> Value:
    width = node.table.shape[1]
    rows = np.arange(len(node.table)) * width - operand.tensor.low
    place = writer.cast(operand.value, "int32")
    if rows.any():
        place = writer.apply("Add", place, writer.by_channel(rows, operand.tensor, "int32"))
    return writer.apply("Gather", writer.constant(node.table.reshape(-1), dtype), place)


def _spread(writer: Writer, node: Spread, value: Value) -> Value:
    channels, height, width = node.output.shape
    (down, across), rows = node.stride, (height - 1) // node.stride[0] + 1
    columns = (width - 1) // across + 1
    apart = writer.reshape(value, channels, rows, 1, columns, 1)
    pads = writer.constant([0, 0, down - 1, across - 1], "int64")
    zero, axes = writer.constant(0, value.dtype), writer.constant([3, 5], "int64")
    wide = writer.apply("Pad", apart, pads, zero, axes)
    joined = writer.reshape(wide, channels, rows * down, columns * across)
    return slice_axes(writer, joined, (2, 3), (0, 0), (height, width), (1, 1))


def _repeat(writer: Writer, node: Repeat, operand: Operand) -> Value:
    channels, height, width = operand.tensor.shape
    down, across = node.factors
    apart = writer.reshape(operand.value, channels, height, 1, width, 1)
    shape = writer.constant([1, 1, 1, down, 1, across], "int64")
    return writer.reshape(writer.apply("Expand", apart, shape), *node.output.shape)
