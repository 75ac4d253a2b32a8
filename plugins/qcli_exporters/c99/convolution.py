"""The C function of a convolution, of a linear layer, and of what reads their sums."""

from __future__ import annotations

import numpy as np

from qcli.deployment.graph import Convolution, Integers, Logits, Quantize, Tensor
from qcli_exporters.c99.function import Function, declare_parameters
from qcli_exporters.c99.packing import Filters, pack_filters
from qcli_exporters.c99.program import Program, Step, image_of
from qcli_exporters.c99.result import Result, make_result
from qcli_exporters.c99.result_text import type_of
from qcli_exporters.c99.table import Table
from qcli_exporters.c99.template import fill
from qcli_exporters.c99.window import Window

INT32_MAX = (1 << 31) - 1


def write_convolution(step: Step, product: Convolution, number: int, program: Program) -> Function:
    """Write a step that sums products.

    Args:
        step: The convolution, or what reads its sums.
        product: The convolution.
        number: Of the step.
        program: The tensors as they lie.
    """
    source = program.stored[product.inputs[0]]
    filters = pack_filters(_channels_last(product.weight))
    result, stored_sum = _finish(step, product, number, program)
    text = fill(
        "convolution.c",
        **_find_window(product, image_of(source.frame)).merged().fields(),
        number=number,
        parameters=_declare(step, program, filters),
        filters=len(product.weight),
        filter=_load(filters, number),
        source=_find_group(step, product),
        in_type=f"{source.tensor.dtype}_t",
        filter_type=f"{filters.dtype}_t",
        sum_type=_sum_type(product, source.tensor),
        result=stored_sum,
    )
    return Function(
        text if result is None else f"{result.text}\n{text}",
        (*_weight_tables(filters, number), *(result.tables if result else ())),
        filters.unpacked_bytes,
        None if filters.values is None else (filters.bits, filters.dtype),
    )


def _channels_last(weight: Integers) -> Integers:
    """Return filters as their numbers meet those of an image: [O, KH * KW * I]."""
    return weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)


def _find_window(product: Convolution, image: tuple[int, int, int]) -> Window:
    _, per_group, down, across = product.weight.shape
    # A linear layer makes a [O]: one place.
    extent = product.output.shape[1:] or (1, 1)
    return Window(
        image,
        (extent[0], extent[1]),
        (down, across),
        product.stride,
        product.pads,
        product.dilation,
        per_group,
    )


def _finish(
    step: Step, product: Convolution, number: int, program: Program
) -> tuple[Result | None, str]:
    """Return the function that reads the sums, if one does, and what is stored, in C."""
    node = step.node
    if not isinstance(node, Quantize | Logits):
        return None, f"({product.output.dtype}_t)sum"
    operands = [program.stored[name].tensor for name in node.inputs]
    stored = program.stored[node.name]
    result = make_result(node, number, operands, None if stored.is_natural else stored.order)
    numbers = [
        f"({type_of(operand)})sum" if operand.name == product.name else f"in{j}[at]"
        for j, operand in enumerate(operands)
    ]
    channels = node.output.shape[0]
    # What reads the sums may see them in another shape.
    channel = "o" if channels == len(product.weight) else f"at % {channels}"
    return result, result.call(channel, numbers)


def _sum_type(product: Convolution, source: Tensor) -> str:
    """Return the type in which no partial sum overflows."""
    most = int(np.abs(product.weight).reshape(len(product.weight), -1).sum(1).max())
    reach = most * max(abs(source.low), abs(source.high))
    return "int32_t" if reach <= INT32_MAX else "int64_t"


def _find_group(step: Step, product: Convolution) -> str:
    """Return the C expression of the first channel that a filter reads."""
    name = "in0" if step.product is None else "source"
    if product.groups == 1:
        return name
    filters, per_group = product.weight.shape[:2]
    return f"{name} + o / {filters // product.groups} * {per_group}"


def _load(filters: Filters, number: int) -> str:
    """Return the C statement that makes `filter` point to the numbers of filter o."""
    row = f"weights_{number} + o * {filters.rows.shape[1]}"
    if filters.values is None:
        return f"const {filters.dtype}_t *filter = {row};"
    size = filters.rows.shape[1]
    return f"unpack_{filters.bits}_{filters.dtype}({row}, {size}, values_{number}, filter);"


def _declare(step: Step, program: Program, filters: Filters) -> str:
    inputs = {key: program.stored[name].tensor for key, name in step.parameters.items()}
    parameters = declare_parameters(inputs.items(), step.node.output)
    return parameters if filters.values is None else f"{parameters}, {filters.dtype}_t *filter"


def _weight_tables(filters: Filters, number: int) -> list[Table]:
    tables = [Table(f"weights_{number}", filters.rows)]
    if filters.values is not None:
        tables.append(Table(f"values_{number}", filters.values))
    return tables
