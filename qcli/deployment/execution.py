"""Run a graph in NumPy: the reference that every other form must equal.

Products are summed by matrix products on whole numbers, which are exact in any order: in float32
while no sum of magnitudes reaches 2^24, else in float64, where none reaches 2^53.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcli.deployment.graph import (
    Concat,
    Convolution,
    Graph,
    Integers,
    Linear,
    Logits,
    Lookup,
    MaxPool,
    Node,
    Pad,
    Quantize,
    Repeat,
    Reshape,
    Signs,
    Spread,
    SumPool,
    Transpose,
)

Values = NDArray[Any]


def run_graph(
    graph: Graph, images: Values, keep: Callable[[str], bool] | None = None
) -> dict[str, Values]:
    """Compute the tensors of a batch.

    Args:
        graph: The network.
        images: uint8 [N, C, H, W].
        keep: Which tensors to return, by name; None: `graph.observed`.

    Returns:
        Integers [N, ...] by name, in the narrowest type of each.
    """
    wanted = keep or set(graph.observed).__contains__
    last_use = {name: node.name for node in graph.nodes for name in node.inputs}
    values: dict[str, Values] = {graph.image.name: images}
    kept: dict[str, Values] = {}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        low = {name: tensor.low for name, tensor in _inputs(graph, node).items()}
        result = run_node(node, inputs, low).astype(node.output.dtype)
        values[node.name] = result
        if wanted(node.name):
            kept[node.name] = result
        for name in node.inputs:
            if last_use[name] == node.name:
                values.pop(name, None)
    return kept


def _inputs(graph: Graph, node: Node) -> Mapping[str, Any]:
    tensors = graph.tensors if isinstance(node, Lookup) else {}
    return {name: tensors[name] for name in node.inputs if name in tensors}


def run_node(node: Node, inputs: list[Values], low: Mapping[str, int]) -> Values:
    """Compute one node.

    Args:
        node: The operation.
        inputs: Integers [N, ...].
        low: The least value of a `Lookup`'s input, by name.
    """
    match node:
        case Lookup():
            return _look_up(node, inputs[0], low[node.inputs[0]])
        case Quantize():
            return _quantize(node, inputs)
        case Logits():
            return _affine(node, inputs)
        case Concat():
            return np.concatenate([each.astype(np.int64) for each in inputs], 1)
    (values,) = inputs
    return _sum_up(node, values) if isinstance(node, _REDUCING) else _rearrange(node, values)


_REDUCING = (Convolution, Linear, MaxPool, SumPool)


def _sum_up(node: Node, values: Values) -> Values:
    match node:
        case Convolution():
            return _convolve(node, values)
        case Linear():
            dtype = _carrier(node.weight, values)
            return _exact(values.astype(dtype) @ node.weight.T.astype(dtype))
        case MaxPool():
            return _max_pool(node, values)
        case SumPool():
            return _sum_pool(node, values)
    raise TypeError(f"{node.name}: no such operation: {type(node).__name__}")


def _rearrange(node: Node, values: Values) -> Values:
    match node:
        case Spread():
            return _spread(node, values)
        case Pad():
            return np.pad(values, ((0, 0), *node.pads))
        case Repeat():
            return values.repeat(node.factors[0], 2).repeat(node.factors[1], 3)
        case Signs():
            return values.astype(np.int64) * _by_channel(node.signs, values)
        case Reshape():
            return values.reshape(len(values), *node.output.shape)
        case Transpose():
            return values.transpose(0, *(axis + 1 for axis in node.axes))
    raise TypeError(f"{node.name}: no such operation: {type(node).__name__}")


def _spread(node: Spread, values: Values) -> Values:
    (down, across), (height, width) = node.stride, values.shape[2:]
    shape = (*values.shape[:2], (height - 1) * down + 1, (width - 1) * across + 1)
    spread = np.zeros(shape, values.dtype)
    spread[:, :, ::down, ::across] = values
    return spread


def _carrier(weight: Integers, values: Values) -> type[np.floating[Any]]:
    """Return the narrower float that holds every partial sum."""
    largest = max(abs(int(values.min(initial=0))), abs(int(values.max(initial=0))))
    reach = int(np.abs(weight).reshape(len(weight), -1).sum(1).max(initial=0)) * largest
    return np.float32 if reach < 1 << 24 else np.float64


def _exact(sums: Values) -> Integers:
    return sums.astype(np.int64)


def _by_channel(numbers: Integers, like: Values) -> Integers:
    """Return [C] numbers in a shape that broadcasts over [N, C, ...]."""
    return numbers.reshape(1, -1, *[1] * (like.ndim - 2))


def _look_up(node: Lookup, values: Values, low: int) -> Integers:
    rows = np.arange(values.shape[1]) if len(node.table) > 1 else np.zeros(values.shape[1], int)
    return node.table[_by_channel(rows, values), values.astype(np.int64) - low]


def _pad(values: Values, pads: tuple[tuple[int, int], tuple[int, int]], fill: float) -> Values:
    """Widen, or crop where a pad is negative, the last two axes."""
    wider = [(max(0, a), max(0, b)) for a, b in pads]
    padded = np.pad(values, ((0, 0), (0, 0), *wider), constant_values=fill)
    (top, bottom), (left, right) = [(max(0, -a), max(0, -b)) for a, b in pads]
    return padded[:, :, top : padded.shape[2] - bottom, left : padded.shape[3] - right]


def _windows(
    values: Values, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> Values:
    """Return a view [N, C, OH, OW, KH, KW]."""
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(values, extent, (2, 3))
    return windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _convolve(node: Convolution, values: Values) -> Integers:
    out_channels, per_group, *kernel = node.weight.shape
    dtype = _carrier(node.weight, values)
    padded = _pad(values.astype(dtype), node.pads, 0)
    windows = _windows(padded, (kernel[0], kernel[1]), node.stride, node.dilation)
    count, _, height, width = windows.shape[:4]
    parts = []
    share = out_channels // node.groups
    for group in range(node.groups):
        part = windows[:, group * per_group : (group + 1) * per_group]
        weight = node.weight[group * share : (group + 1) * share].reshape(share, -1)
        columns = part.transpose(0, 2, 3, 1, 4, 5).reshape(count * height * width, -1)
        parts.append(columns @ weight.T.astype(dtype))
    sums = np.concatenate(parts, 1).reshape(count, height, width, out_channels)
    return _exact(sums.transpose(0, 3, 1, 2))


def _max_pool(node: MaxPool, values: Values) -> Integers:
    padded = _pad(values.astype(np.float64), node.pads, -np.inf)
    return _exact(_windows(padded, node.kernel, node.stride, node.dilation).max((4, 5)))


def _sum_pool(node: SumPool, values: Values) -> Integers:
    padded = _pad(values.astype(np.int64), node.pads, 0)
    return _windows(padded, node.kernel, node.stride, (1, 1)).sum((4, 5))  # type: ignore[no-any-return]


def _affine(node: Quantize | Logits, inputs: list[Values]) -> Integers:
    total = np.zeros(inputs[0].shape, np.int64) + _by_channel(node.bias, inputs[0])
    for row, values in zip(node.multipliers, inputs, strict=True):
        total += _by_channel(row, values) * values.astype(np.int64)
    return total


def _quantize(node: Quantize, inputs: list[Values]) -> Integers:
    total = _affine(node, inputs)
    by_channel = total.swapaxes(0, 1)
    codes = np.empty(by_channel.shape, np.int64)
    for channel, boundaries in enumerate(node.boundaries):
        codes[channel] = np.searchsorted(boundaries, by_channel[channel], side="right")
    return node.levels[codes.swapaxes(0, 1)]
