"""Check that a graph that was read can run: shapes, ranges and sizes follow from its nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

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
    Tensor,
    Transpose,
)

FAR = 1 << 62
LARGEST_TENSOR = 1 << 31
LARGEST_MULTIPLIER = 1 << 31
Shape = tuple[int, ...]
Bounds = tuple[int, int]


class Unsound(Exception):
    """What a node says cannot be."""


def find_unsound(graph: Graph) -> str | None:
    """Return the first node that cannot be, and why; None: the graph runs without overflow."""
    known = {graph.image.name: graph.image}
    try:
        _require(graph.image.shape, (graph.image.low, graph.image.high), graph.image)
        if not graph.nodes or not isinstance(graph.nodes[-1], Logits):
            raise Unsound("the last node is no scores")
    except Unsound as fault:
        return f"{graph.image.name}: {fault}"
    for node in graph.nodes:
        if node.name in known:
            return f"{node.name}: is made twice"
        try:
            inputs = [known[name] for name in node.inputs]
            _require(_shape(node, inputs), _bounds(node, inputs), node.output)
        except Unsound as fault:
            return f"{node.name}: {fault}"
        except KeyError as name:
            return f"{node.name}: its input {name} is not made before"
        except (IndexError, TypeError, ValueError):
            return f"{node.name}: its numbers have another shape than its input"
        known[node.name] = node.output
    return None


def _require(shape: Shape, bounds: Bounds, told: Tensor) -> None:
    if any(n < 1 for n in shape) or math.prod(shape) >= LARGEST_TENSOR or len(shape) > 3:
        raise Unsound(f"gives a tensor of shape {list(shape)}")
    if shape != told.shape:
        raise Unsound(f"gives {list(shape)}, but says {list(told.shape)}")
    if bounds[0] < told.low or bounds[1] > told.high or max(-told.low, told.high) > FAR:
        raise Unsound(f"gives {bounds[0]} to {bounds[1]}, but says {told.low} to {told.high}")


def _shape(node: Node, inputs: Sequence[Tensor]) -> Shape:
    shape = inputs[0].shape
    match node:
        case Convolution():
            return _convolved(node, shape)
        case Linear():
            _demand(node.weight.shape[1:] == shape, "its weight has other columns than its input")
            return (len(node.weight),)
        case MaxPool():
            extent = _extent(shape, node.pads, node.kernel, node.stride, node.dilation)
            return (shape[0], *extent)
        case SumPool():
            return (shape[0], *_extent(shape, node.pads, node.kernel, node.stride, (1, 1)))
        case Concat():
            rest = {each.shape[1:] for each in inputs}
            _demand(len(rest) == 1, "joins tensors of different sizes")
            return (sum(each.shape[0] for each in inputs), *shape[1:])
    return _moved(node, shape)


def _moved(node: Node, shape: Shape) -> Shape:
    match node:
        case Spread():
            _demand(min(node.stride) >= 1, "a stride below 1")
            down, across = node.stride
            return (shape[0], (shape[1] - 1) * down + 1, (shape[2] - 1) * across + 1)
        case Pad():
            _demand(min(min(pad) for pad in node.pads) >= 0, "a pad below 0")
            return tuple(n + sum(pad) for n, pad in zip(shape, node.pads, strict=True))
        case Repeat():
            _demand(min(node.factors) >= 1, "a factor below 1")
            return (shape[0], shape[1] * node.factors[0], shape[2] * node.factors[1])
        case Reshape():
            same = math.prod(shape) == math.prod(node.output.shape)
            _demand(same, "has another count of numbers than its input")
            return node.output.shape
        case Transpose():
            _demand(sorted(node.axes) == list(range(len(shape))), "no permutation of axes")
            return tuple(shape[axis] for axis in node.axes)
    return shape


def _convolved(node: Convolution, shape: Shape) -> Shape:
    out_channels, per_group, *kernel = node.weight.shape
    fits = node.groups >= 1 and out_channels % node.groups == 0
    _demand(fits and per_group * node.groups == shape[0], "its groups do not fit its channels")
    size = (kernel[0], kernel[1])
    return (out_channels, *_extent(shape, node.pads, size, node.stride, node.dilation))


def _extent(
    shape: Shape,
    pads: Sequence[tuple[int, int]],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> Shape:
    _demand(min(*kernel, *stride, *dilation) >= 1, "a kernel, stride or dilation below 1")
    _demand(max(max(map(abs, pad)) for pad in pads) < 1 << 15, "a pad that is too large")
    settings = zip(shape[1:], pads, kernel, stride, dilation, strict=True)
    return tuple((n + sum(pad) - (k - 1) * d - 1) // s + 1 for n, pad, k, s, d in settings)


def _bounds(node: Node, inputs: Sequence[Tensor]) -> Bounds:
    low, high = min(each.low for each in inputs), max(each.high for each in inputs)
    zero = (min(low, 0), max(high, 0))
    match node:
        case Lookup():
            rows = {1, inputs[0].shape[0]}
            fits = len(node.table) in rows and node.table.shape[1] == high - low + 1
            _demand(fits, "its table does not fit its input")
            return int(node.table.min()), int(node.table.max())
        case Convolution() | Linear():
            return weigh(node.weight, *zero)
        case SumPool():
            area = math.prod(node.kernel)
            return area * zero[0], area * zero[1]
        case Spread() | Pad():
            return zero
        case Signs():
            _demand(set(np.unique(node.signs)) <= {-1, 1}, "signs other than 1 and -1")
            return min(low, -high), max(high, -low)
        case Quantize() | Logits():
            return _counted(node, inputs)
    return low, high


def weigh(weight: Integers, low: int, high: int) -> Bounds:
    """Return the range of sums of weights [O, ...] times numbers from low <= 0 to high >= 0."""
    flat = weight.reshape(len(weight), -1)
    positive, negative = np.maximum(flat, 0).sum(1), np.minimum(flat, 0).sum(1)
    least = (positive * low + negative * high).min()
    return int(least), int((positive * high + negative * low).max())


def _counted(node: Quantize | Logits, inputs: Sequence[Tensor]) -> Bounds:
    """Check the affine: no sum overflows, boundaries ascend."""
    channels = inputs[0].shape[0]
    fits = node.multipliers.shape == (len(inputs), channels) and node.bias.shape == (channels,)
    _demand(fits, "its multipliers do not fit its inputs")
    _demand(int(np.abs(node.multipliers).max()) < LARGEST_MULTIPLIER, "a multiplier above 31 bits")
    reach = [max(abs(each.low), abs(each.high)) for each in inputs]
    total = np.abs(node.multipliers).T.astype(object) @ np.array(reach, object)
    largest = int((total + np.abs(node.bias).astype(object)).max())
    _demand(largest < FAR, "its sums overflow 62 bits")
    if isinstance(node, Logits):
        return -largest, largest
    levels = node.boundaries.shape == (channels, len(node.levels) - 1)
    _demand(levels and node.shift.shape == (channels,), "its boundaries do not fit its levels")
    # Their differences overflow: they reach from -2^62 to 2^62.
    ascend = bool((node.boundaries[:, 1:] >= node.boundaries[:, :-1]).all())
    _demand(ascend, "its boundaries do not ascend")
    return int(node.levels.min()), int(node.levels.max())


def _demand(holds: bool, fault: str) -> None:
    if not holds:
        raise Unsound(fault)
