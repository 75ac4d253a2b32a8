"""Sums of operands times numbers, and levels of codes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from numpy.typing import NDArray

from qcli.deployment.graph import Integers, Logits, Quantize, Tensor
from qcli_exporters.onnx_integer.separation import step_of
from qcli_exporters.onnx_integer.writer import Operand, Value, Writer


def add_up(writer: Writer, node: Quantize | Logits, operands: Sequence[Operand]) -> Value:
    """Compute t, the sum of multipliers times operands and the bias: int64."""
    bias = writer.by_channel(node.bias, node.output, "int64")
    return affine(writer, node.output, node.multipliers, operands, bias)


def affine(
    writer: Writer,
    output: Tensor,
    factors: NDArray[Any],
    operands: Sequence[Operand],
    offset: Value,
) -> Value:
    """Add up operands times [J, C] factors, and then the offset, in the offset's type."""
    dtype = offset.dtype
    terms = [
        writer.apply(
            "Mul",
            guard(writer, writer.cast(operand.value, dtype)),
            writer.by_channel(row, output, dtype),
        )
        for row, operand in zip(factors, operands, strict=True)
    ]
    return reduce(lambda first, second: writer.apply("Add", first, second), [*terms, offset])


def guard(writer: Writer, value: Value) -> Value:
    """Keep onnxruntime from folding a Mul into the products before it, where it would be rounded.

    To round a whole number down changes nothing, and no rewriting looks across it.
    """
    products = value.dtype == "float32" and value.kind in ("Conv", "MatMul", "Cast")
    return writer.apply("Floor", value) if products else value


def find_levels(writer: Writer, codes: Value, levels: Integers, dtype: str) -> Value:
    """Look up the level of each code, by arithmetic where they have equal distances."""
    step, base = step_of(levels), int(levels[0])
    if step is None:
        return writer.apply(
            "Gather", writer.constant(levels, dtype), writer.cast(codes, "int32"), dtype=dtype
        )
    if (step, base) == (1, 0):
        return writer.cast(codes, dtype)
    wide = dtype if dtype not in ("uint8", "int8") else "int32"
    values = writer.cast(codes, wide)
    if step != 1:
        values = writer.apply("Mul", values, writer.constant(step, wide))
    if base:
        values = writer.apply("Add", values, writer.constant(base, wide))
    return writer.cast(values, dtype)
