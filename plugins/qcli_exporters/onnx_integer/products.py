"""Convolutions and matrix products of bytes: ConvInteger and MatMulInteger, of numbers in parts.

Weights are uint8 around 128: with int8 onnxruntime is three times slower, and its documentation
tells of saturation on processors without VNNI.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

import qcli
from qcli.deployment.graph import Convolution, Integers, Linear, Pads
from qcli_exporters.onnx_integer.windows import crop
from qcli_exporters.onnx_integer.writer import Operand, Value, Writer

RADIX = 256
CENTER = 128
MOST = (1 << 31) - 2

Product = Callable[[Value, Integers], Value]


def split_weight(weight: Integers) -> list[Integers]:
    """Return parts in -128 to 127: weight = the sum of 256^i * parts[i]."""
    parts = []
    while True:
        low = ((weight + CENTER) & (RADIX - 1)) - CENTER
        parts.append(low)
        weight = (weight - low) // RADIX
        if not weight.any():
            return parts


def split_values(writer: Writer, operand: Operand) -> list[Operand]:
    """Return parts, uint8 and at last uint8 or int8: the value is the sum of 256^i * parts[i].

    The part of 0 is 0: a border of zeros stays one.
    """
    tensor, value, parts = operand.tensor, operand.value, []
    while tensor.dtype not in ("uint8", "int8"):
        value = writer.cast(value, _wide(max(-tensor.low, tensor.high)))
        least = writer.apply("BitwiseAnd", value, writer.constant(RADIX - 1, value.dtype))
        bounded = replace(tensor, low=0, high=RADIX - 1)
        parts.append(Operand(bounded, writer.cast(least, "uint8")))
        rest = writer.apply("Sub", value, least)
        value = writer.apply("Div", rest, writer.constant(RADIX, value.dtype))
        tensor = replace(tensor, low=tensor.low // RADIX, high=tensor.high // RADIX)
    return [*parts, Operand(tensor, writer.cast(value, tensor.dtype))]


def _wide(reach: int) -> str:
    return "int32" if reach <= MOST else "int64"


def convolve(writer: Writer, node: Convolution, operand: Operand) -> Value:
    """Add a convolution of whole numbers of any width.

    Returns:
        int32 or int64.

    Raises:
        ExportError: The layer is too large for int32 sums of bytes.
    """
    operand, pads = crop(writer, operand, node.pads)

    def product(value: Value, weight: Integers) -> Value:
        return writer.apply(
            "ConvInteger",
            value,
            writer.constant(weight, "uint8"),
            writer.constant(0, value.dtype),
            writer.constant(CENTER, "uint8"),
            dtype="int32",
            **window(node, pads),
        )

    return _sum_products(writer, node, operand, product)


def window(node: Convolution, pads: Pads) -> dict[str, Any]:
    """Return the attributes of a convolution in ONNX."""
    (top, bottom), (left, right) = pads
    return {
        "kernel_shape": node.weight.shape[2:],
        "strides": node.stride,
        "pads": (top, left, bottom, right),
        "dilations": node.dilation,
        "group": node.groups,
    }


def multiply(writer: Writer, node: Linear, operand: Operand) -> Value:
    """Add a matrix product of whole numbers of any width; as `convolve`."""

    def product(value: Value, weight: Integers) -> Value:
        return writer.apply(
            "MatMulInteger",
            value,
            writer.constant(weight.T, "uint8"),
            writer.constant(0, value.dtype),
            writer.constant(CENTER, "uint8"),
            dtype="int32",
        )

    return _sum_products(writer, node, operand, product)


def _sum_products(
    writer: Writer, node: Convolution | Linear, operand: Operand, product: Product
) -> Value:
    """Add up the products of all parts of the values with all parts of the weight."""
    values, weights = split_values(writer, operand), split_weight(node.weight)
    sums = [int(np.abs(part).reshape(len(part), -1).sum(1).max()) for part in weights]
    largest = max(each.reach for each in values) * max(sums)
    if largest > MOST:
        raise qcli.ExportError(
            [
                f"{node.layer or node.name}: sums of up to {largest} are more than the 32 bits "
                f"of ConvInteger and MatMulInteger"
            ]
        )
    powers = {(i, j): RADIX ** (i + j) for i in range(len(values)) for j in range(len(weights))}
    most = sum(power * values[i].reach * sums[j] for (i, j), power in powers.items())
    terms = []
    for (i, j), power in powers.items():
        term = product(values[i].value, weights[j] + CENTER)
        if power > 1:
            term = writer.cast(term, _wide(most))
            term = writer.apply("Mul", term, writer.constant(power, term.dtype))
        terms.append(writer.cast(term, _wide(most)))
    return reduce(lambda first, second: writer.apply("Add", first, second), terms)
