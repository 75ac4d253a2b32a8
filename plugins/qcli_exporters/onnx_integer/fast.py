"""The fast form: whole numbers in float32, which computes them exactly below 2^24."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qcli.deployment.graph import (
    Convolution,
    Integers,
    Linear,
    MaxPool,
    Node,
    Quantize,
    SumPool,
    Tensor,
)
from qcli_exporters.onnx_integer import products, windows
from qcli_exporters.onnx_integer.arithmetic import affine, find_levels
from qcli_exporters.onnx_integer.comparison import arithmetic_slacks, compare, correct
from qcli_exporters.onnx_integer.float_steps import EXACT, FloatSteps, find_float_steps
from qcli_exporters.onnx_integer.moves import move
from qcli_exporters.onnx_integer.separation import trim_levels
from qcli_exporters.onnx_integer.windows import crop, is_global, pad
from qcli_exporters.onnx_integer.writer import Operand, Value, Writer


def carrier(tensor: Tensor) -> str:
    """Return the type in which the form carries a tensor."""
    reach = max(-tensor.low, tensor.high)
    if reach < EXACT["float32"]:
        return "float32"
    return "int32" if reach < (1 << 31) - 1 else "int64"


def emit(writer: Writer, node: Node, operands: Sequence[Operand]) -> Value:
    """Add a node; the value may be in another type than the tensor's."""
    match node:
        case Convolution():
            return _convolve(writer, node, operands[0])
        case Linear():
            return _multiply(writer, node, operands[0])
        case MaxPool():
            return _max_pool(writer, node, operands[0])
        case SumPool():
            return _sum_pool(writer, node, operands[0])
        case Quantize():
            return _quantize(writer, node, operands)
    return move(writer, node, [_carried(writer, each) for each in operands], carrier(node.output))


def _carried(writer: Writer, operand: Operand) -> Operand:
    """Return the operand in its own carrier: the image comes as uint8."""
    return Operand(operand.tensor, writer.cast(operand.value, carrier(operand.tensor)))


def _is_exact(weight: Integers, operand: Operand) -> bool:
    """Tell whether float32 holds every sum of some of an output's products, in any order."""
    sums = np.abs(weight).reshape(len(weight), -1).sum(1)
    return int(sums.max()) * operand.reach < EXACT["float32"]


def _weight(writer: Writer, weight: Integers) -> Value:
    """Add a weight in its narrowest type: onnxruntime casts it once, when it loads the file."""
    narrow = Tensor("", (), int(weight.min()), int(weight.max())).dtype
    return writer.cast(writer.constant(weight, narrow), "float32")


def _convolve(writer: Writer, node: Convolution, operand: Operand) -> Value:
    if not _is_exact(node.weight, operand):
        return products.convolve(writer, node, operand)
    operand, pads = crop(writer, _carried(writer, operand), node.pads)
    weight = _weight(writer, node.weight)
    attributes = products.window(node, pads)
    return writer.apply("Conv", operand.value, weight, **attributes)


def _multiply(writer: Writer, node: Linear, operand: Operand) -> Value:
    if not _is_exact(node.weight, operand):
        return products.multiply(writer, node, operand)
    weight = _weight(writer, node.weight.T)
    return writer.apply("MatMul", _carried(writer, operand).value, weight)


def _max_pool(writer: Writer, node: MaxPool, operand: Operand) -> Value:
    if carrier(operand.tensor) != "float32":
        return windows.max_pool(writer, node, operand)
    operand, pads = crop(writer, _carried(writer, operand), node.pads)
    value = operand.value
    # onnxruntime refuses pads that are not below the kernel, which a dilated one can have.
    if any(max(pair) >= size for pair, size in zip(pads, node.kernel, strict=True)):
        value, pads = pad(writer, value, pads, operand.tensor.low), ((0, 0), (0, 0))
    (top, bottom), (left, right) = pads
    return writer.apply(
        "MaxPool",
        value,
        kernel_shape=node.kernel,
        strides=node.stride,
        pads=(top, left, bottom, right),
        dilations=node.dilation,
    )


def _sum_pool(writer: Writer, node: SumPool, operand: Operand) -> Value:
    """Convolve each channel with ones, or add up all of it."""
    count = node.kernel[0] * node.kernel[1]
    if operand.reach * count >= EXACT["float32"]:
        return windows.sum_pool(writer, node, operand)
    if is_global(node, operand.tensor):
        value = _carried(writer, operand).value
        return writer.apply("ReduceSum", value, writer.constant([2, 3], "int64"), keepdims=1)
    channels = operand.tensor.shape[0]
    weight = np.ones((channels, 1, *node.kernel), np.int64)
    ones = Convolution(
        node.inputs, node.output, weight, stride=node.stride, pads=node.pads, groups=channels
    )
    return _convolve(writer, ones, operand)


def _quantize(writer: Writer, node: Quantize, operands: Sequence[Operand]) -> Value:
    tensors, dtype = [each.tensor for each in operands], carrier(node.output)
    node = trim_levels(node)
    carried = [_carried(writer, each) for each in operands]
    for slack in arithmetic_slacks(node):
        steps = find_float_steps(node, tensors, slack)
        if steps is not None:
            codes = _round(writer, node, steps, carried)
            codes = correct(writer, node, carried, codes, steps.base) if slack else codes
            return find_levels(writer, codes, node.levels - steps.base, dtype)
    return compare(writer, node, carried, dtype)


def _round(writer: Writer, node: Quantize, steps: FloatSteps, operands: Sequence[Operand]) -> Value:
    dtype = str(steps.slopes.dtype)
    offsets = writer.by_channel(steps.offsets, node.output, dtype)
    total = affine(writer, node.output, steps.slopes, operands, offsets)
    ends = steps.base, steps.base + len(node.levels) - 1
    rounded = writer.apply(steps.rounding, total)
    return writer.apply("Clip", rounded, *(writer.constant(each, dtype) for each in ends))
