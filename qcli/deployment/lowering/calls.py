"""Calls of functions and methods between modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import fx

from qcli.deployment.lowering import shapes
from qcli.deployment.lowering.builder import Builder, Fault
from qcli.deployment.lowering.modules import average_to
from qcli.deployment.lowering.trace import place_of, shape_of
from qcli.deployment.lowering.value import Activation, Value, add_values

Values = Mapping[fx.Node, Value | None]
Lower = Callable[[Builder, fx.Node, Values], Value]


def lower_call(builder: Builder, node: fx.Node, name: str, values: Values) -> Value:
    """Lower a call of a function or method.

    Args:
        builder: The graph.
        node: The call; every input has a value.
        name: Of `CALLS`.
        values: Of the nodes before.
    """
    if not node.args:
        raise Fault(f"call {place_of(node)} ({name}): give its input by position, not by name")
    return CALLS[name](builder, node, values)


def _value(values: Values, node: Any) -> Value:
    value = values[node]
    assert value is not None
    return value


def _argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)


def _add(builder: Builder, node: fx.Node, values: Values) -> Value:
    if node.kwargs:
        raise Fault(f"call {place_of(node)}: a sum with {', '.join(node.kwargs)}")
    numbers = [each for each in node.args if not isinstance(each, fx.Node)]
    summands = [_value(values, each) for each in node.args if isinstance(each, fx.Node)]
    if any(value.activations for value in summands):
        raise Fault(
            f"call {place_of(node)}: adds an activation that is not quantized (a float shortcut); "
            "quantize its output"
        )
    if numbers:
        return summands[0].scale(np.array(1.0), np.array(float(numbers[0])))  # type: ignore[arg-type]
    if summands[0].shape != summands[1].shape:
        raise Fault(
            f"call {place_of(node)}: adds shapes {summands[0].shape} and {summands[1].shape}"
        )
    return add_values(*summands)


def _relu(builder: Builder, node: fx.Node, values: Values) -> Value:
    return _value(values, node.args[0]).activate(Activation(0))


def _concatenate(builder: Builder, node: fx.Node, values: Values) -> Value:
    parts: Any = node.args[0]
    if int(_argument(node, 1, "dim", 0)) % (len(shape_of(node)) + 1) != 1:
        raise Fault(f"call {place_of(node)}: joins along another axis than the channels")
    return shapes.concatenate(builder, place_of(node), [_value(values, each) for each in parts])


def _reshape(builder: Builder, node: fx.Node, values: Values) -> Value:
    return shapes.reshape(builder, place_of(node), _value(values, node.args[0]), shape_of(node))


def _permute(builder: Builder, node: fx.Node, values: Values) -> Value:
    value = _value(values, node.args[0])
    order = list(range(len(value.shape) + 1))
    target = getattr(node.target, "__name__", node.target)
    if target == "transpose":
        pair = (_argument(node, 1, "dim0"), _argument(node, 2, "dim1"))
        first, second = (int(each) % len(order) for each in pair)
        order[first], order[second] = order[second], order[first]
    else:
        axes: Any = _argument(node, 1, "dims")
        given: Any = axes if isinstance(axes, tuple | list) else node.args[1:]
        order = [int(axis) % len(order) for axis in given]
    if order[0] != 0:
        raise Fault(f"call {place_of(node)}: moves the axis of images")
    return shapes.transpose(builder, place_of(node), value, tuple(axis - 1 for axis in order[1:]))


def _pad(builder: Builder, node: fx.Node, values: Values) -> Value:
    value, flat = _value(values, node.args[0]), list(_argument(node, 1, "pad"))
    mode, fill = _argument(node, 2, "mode", "constant"), _argument(node, 3, "value", None)
    if mode != "constant" or fill not in (None, 0):
        raise Fault(f"call {place_of(node)}: allowed: a border of 0")
    pairs = [(int(a), int(b)) for a, b in zip(flat[::2], flat[1::2], strict=True)]
    missing = len(value.shape) - len(pairs)
    if missing < 0:
        raise Fault(f"call {place_of(node)}: widens the axis of images")
    pads = ((0, 0),) * missing + tuple(reversed(pairs))
    return shapes.pad_zeros(builder, place_of(node), value, pads)


def _getitem(builder: Builder, node: fx.Node, values: Values) -> Value:
    """Subsampling of pixels, x[:, :, ::2, ::2]."""
    index: Any = node.args[1]
    slices = index if isinstance(index, tuple) else (index,)
    steps = [_step(each) for each in slices]
    if len(steps) != 4 or None in steps or steps[:2] != [1, 1]:
        raise Fault(
            f"call {place_of(node)}: allowed of indices: every n-th pixel, x[:, :, ::n, ::n]"
        )
    value = _value(values, node.args[0])
    return shapes.subsample(builder, place_of(node), value, (steps[2] or 1, steps[3] or 1))


def _step(index: Any) -> int | None:
    """Return n of ::n; None: another index."""
    whole = isinstance(index, slice) and index.start in (None, 0) and index.stop is None
    return (index.step or 1) if whole else None


def _mean(builder: Builder, node: fx.Node, values: Values) -> Value:
    value = _value(values, node.args[0])
    axes = _argument(node, 1, "dim")
    given = axes if isinstance(axes, tuple | list) else ()
    if sorted(int(axis) % 4 for axis in given) != [2, 3] or len(value.shape) != 3:
        raise Fault(f"call {place_of(node)}: allowed: a mean over height and width")
    pooled = average_to(builder, place_of(node), value, (1, 1))
    return shapes.reshape(builder, f"{place_of(node)}.flat", pooled, shape_of(node))


def _adaptive_average(builder: Builder, node: fx.Node, values: Values) -> Value:
    height, width = shape_of(node)[1:]
    return average_to(builder, place_of(node), _value(values, node.args[0]), (height, width))


def _max_pool(builder: Builder, node: fx.Node, values: Values) -> Value:
    kernel = _argument(node, 1, "kernel_size")
    numbers = (kernel, _argument(node, 2, "stride") or kernel, _argument(node, 3, "padding", 0))
    settings = (*numbers, _argument(node, 4, "dilation", 1))
    window = shapes.Window(*(shapes.pair(number) for number in settings))
    value = _value(values, node.args[0])
    return shapes.max_pool(builder, place_of(node), value, window, shape_of(node)[1:])


def _dropout(builder: Builder, node: fx.Node, values: Values) -> Value:
    if _argument(node, 2, "training", True):
        raise Fault(
            f"call {place_of(node)}: drops values in eval mode, too; pass training=self.training"
        )
    return _keep(builder, node, values)


def _keep(builder: Builder, node: fx.Node, values: Values) -> Value:
    return _value(values, node.args[0])


RESHAPES = ("flatten", "view", "reshape", "squeeze", "unsqueeze")


CALLS: dict[str, Lower] = {
    "add": _add,
    "iadd": _add,
    "add_": _add,
    "relu": _relu,
    "relu_": _relu,
    "cat": _concatenate,
    "concat": _concatenate,
    **dict.fromkeys(RESHAPES, _reshape),
    "permute": _permute,
    "transpose": _permute,
    "pad": _pad,
    "getitem": _getitem,
    "mean": _mean,
    "adaptive_avg_pool2d": _adaptive_average,
    "max_pool2d": _max_pool,
    "dropout": _dropout,
    "contiguous": _keep,
    "clone": _keep,
}
