"""The strict form: bytes and int32, no float anywhere."""

from __future__ import annotations

from collections.abc import Sequence

from qcli.deployment.graph import (
    Convolution,
    Linear,
    MaxPool,
    Node,
    Quantize,
    SumPool,
    Tensor,
)
from qcli_exporters.onnx_integer.arithmetic import affine, find_levels
from qcli_exporters.onnx_integer.comparison import arithmetic_slacks, compare, correct
from qcli_exporters.onnx_integer.integer_steps import IntegerSteps, find_integer_steps
from qcli_exporters.onnx_integer.moves import move
from qcli_exporters.onnx_integer.products import convolve, multiply
from qcli_exporters.onnx_integer.separation import trim_levels
from qcli_exporters.onnx_integer.windows import max_pool, sum_pool
from qcli_exporters.onnx_integer.writer import Operand, Value, Writer


def carrier(tensor: Tensor) -> str:
    """Return the type in which the form carries a tensor: int16 is not for all operations."""
    if tensor.dtype in ("uint8", "int8"):
        return tensor.dtype
    # One number of each sign is left for the boundaries that are never reached.
    return "int32" if max(-tensor.low, tensor.high) < (1 << 31) - 1 else "int64"


def emit(writer: Writer, node: Node, operands: Sequence[Operand]) -> Value:
    """Add a node; the value may be in a wider type than the tensor's."""
    match node:
        case Convolution():
            return convolve(writer, node, operands[0])
        case Linear():
            return multiply(writer, node, operands[0])
        case MaxPool():
            return max_pool(writer, node, operands[0])
        case SumPool():
            return sum_pool(writer, node, operands[0])
        case Quantize():
            return _quantize(writer, node, operands)
    return move(writer, node, operands, carrier(node.output))


def _quantize(writer: Writer, node: Quantize, operands: Sequence[Operand]) -> Value:
    tensors, dtype = [each.tensor for each in operands], carrier(node.output)
    node = trim_levels(node)
    for slack in arithmetic_slacks(node):
        steps = find_integer_steps(node, tensors, slack)
        if steps is not None:
            codes = _divide(writer, node, steps, operands)
            codes = correct(writer, node, operands, codes, 0) if slack else codes
            return find_levels(writer, codes, node.levels, dtype)
    return compare(writer, node, operands, dtype)


def _divide(
    writer: Writer, node: Quantize, steps: IntegerSteps, operands: Sequence[Operand]
) -> Value:
    dtype = steps.dtype
    biases = writer.by_channel(steps.biases, node.output, dtype)
    total = affine(writer, node.output, steps.multipliers, operands, biases)
    divisors = writer.by_channel(steps.divisors, node.output, dtype)
    codes = writer.cast(writer.apply("Div", total, divisors), "int32")
    # Clip is for int32: that of int64 is wrong on x86.
    ends = writer.constant(0, "int32"), writer.constant(len(node.levels) - 1, "int32")
    return writer.apply("Clip", codes, *ends)
