"""Pools, pads, joins and other moves of values, on each operand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qcli.deployment.graph import (
    Concat,
    Lookup,
    MaxPool,
    Pad,
    Pads,
    Repeat,
    Reshape,
    Signs,
    SumPool,
    Tensor,
    Transpose,
)
from qcli.deployment.lowering.builder import Builder, Fault
from qcli.deployment.lowering.value import Value

Pair = tuple[int, int]


def pair(numbers: Any) -> Pair:
    """Return (down, across) of one number for both, of two, or of one that is across."""
    if isinstance(numbers, int):
        return (numbers, numbers)
    if len(numbers) == 1:
        return (1, int(numbers[0]))
    return (int(numbers[0]), int(numbers[1]))


@dataclass(frozen=True)
class Window:
    """Of a pool; all numbers down and across.

    Args:
        kernel: What it sees.
        stride: Distance of windows.
        pads: On both sides.
        dilation: Distance of what it sees.
    """

    kernel: Pair
    stride: Pair
    pads: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def always_sees(self, size: tuple[int, ...], extent: tuple[int, ...]) -> bool:
        """Return whether every number of the result has a pixel: dilated windows may miss all."""
        axes = zip(size, self.kernel, self.stride, self.pads, self.dilation, extent, strict=True)
        return all(
            any(0 <= number * s - pad + place * d < length for place in range(k))
            for length, k, s, pad, d, count in axes
            for number in range(count)
        )

    def borders(self, size: tuple[int, ...], extent: tuple[int, ...]) -> Pads:
        """Return the border that gives the result its size: windows may end outside."""
        after = [
            max(pad, (count - 1) * s + (k - 1) * d + 1 - length - pad)
            for length, k, s, pad, d, count in zip(
                size, self.kernel, self.stride, self.pads, self.dilation, extent, strict=True
            )
        ]
        return ((self.pads[0], after[0]), (self.pads[1], after[1]))


def max_pool(
    builder: Builder,
    name: str,
    value: Value,
    window: Window,
    extent: tuple[int, ...],
) -> Value:
    """Pool integers: the greatest real value has the greatest integer where its factor is above 0.

    Args:
        builder: The graph.
        name: Of the pool.
        value: Of one operand.
        window: What each number of the result sees.
        extent: (height, width) of the result.
    """
    if not window.always_sees(value.shape[1:], extent):
        raise Fault(f"{name}: has windows that see the border alone; take less padding")
    if len(value.operands) > 1:
        return _pool_codes(builder, name, value, window, extent)
    (operand,), signs = value.operands, np.where(value.factors[0] < 0, -1, 1)
    if (signs < 0).any():
        bounds = (min(operand.low, -operand.high), max(operand.high, -operand.low))
        operand = builder.add(
            Signs, f"{name}.signs", (operand,), operand.shape, signs=signs, bounds=bounds
        )
    fields = {
        "kernel": window.kernel,
        "stride": window.stride,
        "pads": window.borders(operand.shape[1:], extent),
        "dilation": window.dilation,
    }
    pooled = builder.add(MaxPool, name, (operand,), (operand.shape[0], *extent), **fields)
    return replace(value, operands=(pooled,), factors=np.abs(value.factors))


def _pool_codes(
    builder: Builder, name: str, value: Value, window: Window, extent: tuple[int, ...]
) -> Value:
    """Pool the codes that the operands are planes of: the greatest level has the greatest code."""
    made = {node.name: node for node in builder.nodes}
    lookups = [made.get(operand.name) for operand in value.operands]
    tables = [node.table for node in lookups if isinstance(node, Lookup)]
    sources = {node.inputs for node in lookups if node}
    levels = value.factors.T @ np.concatenate(tables) if tables else None
    rising = levels is not None and (np.diff(levels) >= 0).all()
    if len(tables) < len(lookups) or len(sources) > 1 or not rising:
        raise Fault(f"{name}: the greatest of sums that are not quantized; quantize them first")
    (source,) = sources
    codes = made[source[0]].output
    channels = codes.shape[0]
    whole = Value((codes,), np.ones((1, channels)), np.zeros(channels))
    pooled = max_pool(builder, name, whole, window, extent).operands
    operands = tuple(
        builder.add(
            Lookup,
            f"{name}.{number}",
            pooled,
            pooled[0].shape,
            table=table,
            bounds=(operand.low, operand.high),
        )
        for number, (table, operand) in enumerate(zip(tables, value.operands, strict=True))
    )
    return replace(value, operands=operands)


def average_pool(
    builder: Builder, name: str, value: Value, kernel: Pair, stride: Pair, pads: Pair, extent: Pair
) -> Value:
    """Sum integers; the divisor goes to the factor."""
    if value.activations:
        raise Fault(
            f"{name}: an average of an activation that is not quantized; "
            "quantize the activation's output"
        )
    if value.offset.any() and any(pads):
        raise Fault(
            f"{name}: an average over a border of values with an offset; quantize them first"
        )
    area = math.prod(kernel)
    fields = {"kernel": kernel, "stride": stride, "pads": tuple((pad, pad) for pad in pads)}
    operands = tuple(
        builder.add(
            SumPool,
            name if len(value.operands) == 1 else f"{name}.{number}",
            (operand,),
            (operand.shape[0], *extent),
            bounds=(min(0, area * operand.low), max(0, area * operand.high)),
            **fields,
        )
        for number, operand in enumerate(value.operands)
    )
    return replace(value, operands=operands, factors=value.factors / area)


def pad_zeros(builder: Builder, name: str, value: Value, pads: tuple[Pair, ...]) -> Value:
    """Add a border of zeros, of each axis."""
    if any(pad < 0 for pair in pads for pad in pair):
        raise Fault(f"{name}: a border below 0, which crops; allowed: 0 or more")
    if value.activations or value.offset.any():
        raise Fault(
            f"{name}: a border of 0 around values that are not quantized; quantize them first"
        )

    def widen(label: str, operand: Tensor) -> Tensor:
        shape = tuple(length + sum(pad) for length, pad in zip(operand.shape, pads, strict=True))
        bounds = (min(0, operand.low), max(0, operand.high))
        return builder.add(Pad, label, (operand,), shape, pads=pads, bounds=bounds)

    front, back = pads[0]
    # New channels hold 0, which any factor scales.
    factors = np.pad(value.factors, ((0, 0), (front, back)), mode="edge")
    return replace(
        _each(name, value, widen), factors=factors, offset=np.pad(value.offset, (front, back))
    )


def subsample(builder: Builder, name: str, value: Value, stride: Pair) -> Value:
    """Keep the first of each `stride` pixels."""
    extent = tuple(-(-n // s) for n, s in zip(value.shape[1:], stride, strict=True))

    def pick(label: str, operand: Tensor) -> Tensor:
        fields = {"kernel": (1, 1), "stride": stride}
        return builder.add(MaxPool, label, (operand,), (operand.shape[0], *extent), **fields)

    return _each(name, value, pick)


def repeat(builder: Builder, name: str, value: Value, factors: Pair) -> Value:
    """Enlarge by whole factors."""
    channels, height, width = value.shape
    shape = (channels, height * factors[0], width * factors[1])
    return _each(
        name, value, lambda label, each: builder.add(Repeat, label, (each,), shape, factors=factors)
    )


def reshape(builder: Builder, name: str, value: Value, shape: tuple[int, ...]) -> Value:
    """Take the values in order in another shape; every new channel lies in one old one."""
    if shape == value.shape:
        return value
    channels, count = shape[0], value.shape[0]
    if channels % count and not _alike(value):
        raise Fault(f"{name}: mixes channels of different scales; quantize them first")
    moved = _each(name, value, lambda label, each: builder.add(Reshape, label, (each,), shape))
    if channels % count:
        return _by_channels(moved, lambda numbers: np.tile(numbers[..., :1], channels))
    share = channels // count
    return _by_channels(moved, lambda numbers: np.repeat(numbers, share, -1))


def transpose(builder: Builder, name: str, value: Value, axes: tuple[int, ...]) -> Value:
    """Permute the axes of a sample; channels stay where they are, or all have one scale."""
    shape = tuple(value.shape[axis] for axis in axes)
    if axes[0] != 0 and not _alike(value):
        raise Fault(f"{name}: moves channels of different scales; quantize them first")
    moved = _each(
        name, value, lambda label, each: builder.add(Transpose, label, (each,), shape, axes=axes)
    )
    if axes[0] == 0:
        return moved
    return _by_channels(moved, lambda numbers: np.tile(numbers[..., :1], shape[0]))


def concatenate(builder: Builder, name: str, values: list[Value]) -> Value:
    """Join channels; every value has as many operands as the others, and no activation pending."""
    if any(value.activations for value in values):
        raise Fault(f"{name}: joins an activation that is not quantized; quantize its output")
    counts = {len(value.operands) for value in values}
    if len(counts) > 1:
        raise Fault(f"{name}: joins quantized values and sums; quantize the sums")
    operands = []
    for number, parts in enumerate(zip(*(value.operands for value in values), strict=True)):
        label = name if counts == {1} else f"{name}.{number}"
        shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
        operands.append(builder.add(Concat, label, parts, shape))
    factors = np.concatenate([value.factors for value in values], 1)
    return Value(tuple(operands), factors, np.concatenate([value.offset for value in values]))


def _each(name: str, value: Value, move: Callable[[str, Tensor], Tensor]) -> Value:
    several = len(value.operands) > 1
    operands = tuple(
        move(f"{name}.{number}" if several else name, operand)
        for number, operand in enumerate(value.operands)
    )
    return replace(value, operands=operands)


def _alike(value: Value) -> bool:
    """Return whether all channels have one affine and one activation."""
    slopes = [each.slope[None] for each in value.activations if each.slope is not None]
    rows = (value.factors, value.offset[None], *slopes)
    return all(bool((row == row[:, :1]).all()) for row in rows)


def _by_channels(value: Value, change: Callable[[Any], Any]) -> Value:
    """Give the affine, and what is pending, the new channels."""
    activations = tuple(
        each if each.slope is None else replace(each, slope=change(each.slope))
        for each in value.activations
    )
    return replace(
        value,
        factors=change(value.factors),
        offset=change(value.offset),
        activations=activations,
    )
