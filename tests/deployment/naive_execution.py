"""A second executor of graphs: sums over offsets of windows, affines in whole Python numbers."""

import numpy as np

from qcli.deployment.graph import (
    Concat,
    Convolution,
    Linear,
    Logits,
    Lookup,
    MaxPool,
    Pad,
    Quantize,
    Repeat,
    Reshape,
    Signs,
    Spread,
    SumPool,
    Transpose,
)


def run_naively(graph, images):
    """Return every tensor of the graph, int64 [N, ...], each checked against its range."""
    values = {graph.image.name: images.astype(np.int64)}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        lows = [graph.tensors[name].low for name in node.inputs]
        result = _RUN[type(node)](node, inputs, lows)
        assert result.shape[1:] == node.output.shape, node.name
        assert node.output.low <= result.min(), node.name
        assert result.max() <= node.output.high, node.name
        values[node.name] = result
    return values


def _place(x, pads, fill):
    (top, bottom), (left, right) = pads
    count, channels, height, width = x.shape
    placed = np.full((count, channels, height + top + bottom, width + left + right), fill)
    for row in range(height):
        for column in range(width):
            if 0 <= row + top < placed.shape[2] and 0 <= column + left < placed.shape[3]:
                placed[:, :, row + top, column + left] = x[:, :, row, column]
    return placed


def _seen(x, node, kernel, dilation):
    """Yield each offset of a window, and what all windows see there."""
    (height, width), (down, across) = node.output.shape[1:], node.stride
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            top, left = row * dilation[0], column * dilation[1]
            rows = slice(top, top + (height - 1) * down + 1, down)
            columns = slice(left, left + (width - 1) * across + 1, across)
            yield row, column, x[:, :, rows, columns]


def _convolve(node, inputs, lows):
    x = _place(inputs[0], node.pads, 0)
    total = np.zeros((len(x), *node.output.shape), np.int64)
    share, inside = len(node.weight) // node.groups, node.weight.shape[1]
    for row, column, seen in _seen(x, node, node.weight.shape[2:], node.dilation):
        for channel in range(len(node.weight)):
            first = channel // share * inside
            for place in range(inside):
                weight = int(node.weight[channel, place, row, column])
                total[:, channel] += weight * seen[:, first + place]
    return total


def _max_pool(node, inputs, lows):
    x = _place(inputs[0], node.pads, -(1 << 62))
    return np.max([seen for *_, seen in _seen(x, node, node.kernel, node.dilation)], 0)


def _sum_pool(node, inputs, lows):
    x = _place(inputs[0], node.pads, 0)
    return sum(seen for *_, seen in _seen(x, node, node.kernel, (1, 1)))


def _affine(node, inputs):
    """Return t as whole Python numbers."""
    shape = (1, -1) + (1,) * (inputs[0].ndim - 2)
    total = np.zeros(inputs[0].shape, object) + node.bias.astype(object).reshape(shape)
    for row, values in zip(node.multipliers, inputs, strict=True):
        total = total + row.astype(object).reshape(shape) * values.astype(object)
    assert np.abs(total).max() < 1 << 62
    return total.astype(np.int64)


def _quantize(node, inputs, lows):
    total = _affine(node, inputs)
    codes = np.zeros(total.shape, np.int64)
    shape = (1, -1) + (1,) * (total.ndim - 2)
    for boundary in node.boundaries.T:
        codes += total >= boundary.reshape(shape)
    return node.levels[codes]


def _look_up(node, inputs, lows):
    rows = [node.table[channel % len(node.table)] for channel in range(inputs[0].shape[1])]
    parts = [row[inputs[0][:, channel] - lows[0]] for channel, row in enumerate(rows)]
    return np.stack(parts, 1)


def _spread(node, inputs, lows):
    result = np.zeros((len(inputs[0]), *node.output.shape), np.int64)
    for place in np.ndindex(*inputs[0].shape[2:]):
        row, column = place[0] * node.stride[0], place[1] * node.stride[1]
        result[:, :, row, column] = inputs[0][:, :, place[0], place[1]]
    return result


def _pad(node, inputs, lows):
    result = np.zeros((len(inputs[0]), *node.output.shape), np.int64)
    sizes = zip(node.pads, inputs[0].shape[1:], strict=True)
    result[(slice(None), *(slice(front, front + size) for (front, _), size in sizes))] = inputs[0]
    return result


def _signs(node, inputs, lows):
    turned = zip(inputs[0].swapaxes(0, 1), node.signs, strict=True)
    return np.stack([values * sign for values, sign in turned], 1)


def _move(node, inputs, lows):
    match node:
        case Repeat():
            return np.kron(inputs[0], np.ones(node.factors, np.int64))
        case Reshape():
            return np.array([image.ravel().reshape(node.output.shape) for image in inputs[0]])
        case Transpose():
            return np.array([image.transpose(node.axes) for image in inputs[0]])
    return np.concatenate(inputs, 1)


_RUN = {
    Convolution: _convolve,
    Linear: lambda node, inputs, lows: np.array([node.weight @ image for image in inputs[0]]),
    MaxPool: _max_pool,
    SumPool: _sum_pool,
    Quantize: _quantize,
    Logits: lambda node, inputs, lows: _affine(node, inputs),
    Lookup: _look_up,
    Spread: _spread,
    Pad: _pad,
    Signs: _signs,
    **dict.fromkeys((Repeat, Reshape, Transpose, Concat), _move),
}
