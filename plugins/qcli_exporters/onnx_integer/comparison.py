"""Codes by comparisons with the boundaries: exact for any, and slower than arithmetic alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qcli.deployment.boundaries import find_steps
from qcli.deployment.graph import Integers, Quantize, Tensor
from qcli_exporters.onnx_integer.arithmetic import add_up, find_levels
from qcli_exporters.onnx_integer.writer import Operand, Value, Writer

MOST_COUNTED = 33
NEVER = {"int32": (1 << 31) - 1, "int64": 1 << 62, "float32": np.inf}


def arithmetic_slacks(node: Quantize) -> tuple[int, ...]:
    """Return by how much codes of arithmetic may be too low for it to be worth its time.

    One comparison is the cheapest of all; a code that may be one too low costs about as much as
    a dozen comparisons; each takes a fifth of a nanosecond.
    """
    if len(node.levels) == 2:
        return ()
    return (0,) if len(node.levels) <= MOST_COUNTED else (0, 1)


def compare(writer: Writer, node: Quantize, operands: Sequence[Operand], dtype: str) -> Value:
    """Add a quantization that compares its operand, or t of several, with the boundaries.

    Two levels need one comparison, a few more one for each boundary, many a binary search.

    Returns:
        The levels, in the type asked for.
    """
    value, thresholds = _compared(writer, node, operands)
    if len(node.levels) == 2:
        threshold = writer.by_channel(thresholds[:, 0], node.output, value.dtype)
        reached = writer.apply("GreaterOrEqual", value, threshold, dtype="bool")
        low, high = (writer.constant(level, dtype) for level in node.levels)
        return writer.apply("Where", reached, high, low, dtype=dtype)
    few = len(node.levels) <= MOST_COUNTED
    find = _count if few else _search
    return find_levels(writer, find(writer, value, thresholds, node.output), node.levels, dtype)


def _compared(
    writer: Writer, node: Quantize, operands: Sequence[Operand]
) -> tuple[Value, Integers]:
    if len(operands) > 1:
        return add_up(writer, node, operands), node.boundaries
    steps = find_steps(node, operands[0].tensor)
    value = operands[0].value
    value = writer.cast(value, "int32") if value.dtype in ("uint8", "int8") else value
    if (steps.signs < 0).any():
        signs = writer.by_channel(steps.signs, node.output, value.dtype)
        value = writer.apply("Mul", value, signs)
    return value, steps.thresholds


def _count(writer: Writer, value: Value, thresholds: Integers, like: Tensor) -> Value:
    """Count the thresholds reached, one by one: uint8."""
    total: Value | None = None
    for column in thresholds.T:
        threshold = writer.by_channel(column, like, value.dtype)
        reached = writer.apply("GreaterOrEqual", value, threshold, dtype="bool")
        one = writer.cast(reached, "uint8")
        total = writer.apply("Add", total, one) if total else one
    assert total is not None
    return total


def _search(writer: Writer, value: Value, thresholds: Integers, like: Tensor) -> Value:
    """Find each code bit by bit, in a table of 2^bits thresholds for each channel: int32."""
    channels, count = thresholds.shape
    bits = count.bit_length()
    numbers = np.full((channels, 1 << bits), NEVER[value.dtype])
    numbers[:, :count] = thresholds
    table = writer.constant(numbers.reshape(-1), value.dtype)
    base = writer.by_channel(np.arange(channels) << bits, like, "int32")
    place = base
    for step in (1 << bit for bit in reversed(range(bits))):
        asked = writer.apply("Add", place, writer.constant(step - 1, "int32"))
        threshold = writer.apply("Gather", table, asked)
        reached = writer.apply("GreaterOrEqual", value, threshold, dtype="bool")
        steps = writer.constant(step, "int32"), writer.constant(0, "int32")
        place = writer.apply("Add", place, writer.apply("Where", reached, *steps, dtype="int32"))
    return writer.apply("Sub", place, base)


def correct(
    writer: Writer, node: Quantize, operands: Sequence[Operand], guesses: Value, base: int
) -> Value:
    """Compare with the one boundary above a guess, which is the code or the one before it.

    Args:
        writer: What is written.
        node: The quantization.
        operands: What it counts.
        guesses: Codes + base.
        base: What code 0 is guessed as.

    Returns:
        Codes + base: int32.
    """
    value, thresholds = _compared(writer, node, operands)
    channels, count = thresholds.shape
    numbers = np.full((channels, count + 1), NEVER[value.dtype])
    numbers[:, :count] = thresholds
    starts = writer.by_channel(np.arange(channels) * (count + 1) - base, node.output, "int32")
    codes = writer.cast(guesses, "int32")
    place = writer.apply("Add", codes, starts)
    threshold = writer.apply("Gather", writer.constant(numbers.reshape(-1), value.dtype), place)
    reached = writer.apply("GreaterOrEqual", value, threshold, dtype="bool")
    return writer.apply("Add", codes, writer.cast(reached, "int32"))
