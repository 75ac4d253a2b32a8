"""Modules without a graph of their own, each by its class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import fx, nn

from qcli.deployment.lowering import shapes
from qcli.deployment.lowering.builder import Builder, Fault
from qcli.deployment.lowering.dyadic import read_numbers
from qcli.deployment.lowering.layers import LAYERS, lower_layer
from qcli.deployment.lowering.norms import NORMS, lower_norm
from qcli.deployment.lowering.trace import shape_of
from qcli.deployment.lowering.value import Activation, Value

PASSING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Sequential)
Lower = Callable[[Builder, str, Any, Value, fx.Node], Value]


def lower_module(
    builder: Builder, name: str, module: nn.Module, value: Value, node: fx.Node
) -> Value:
    """Lower what a module computes, without its quantizers.

    Args:
        builder: The graph.
        name: Dotted name.
        module: In eval mode.
        value: Its input.
        node: Its call, which knows the shape of the result.
    """
    _require_torch(name, module)
    if isinstance(module, PASSING):
        return value
    if isinstance(module, LAYERS):
        return lower_layer(builder, name, module, value)
    if isinstance(module, NORMS):
        return lower_norm(name, module, value)
    for kind, lower in _BY_CLASS.items():
        if isinstance(module, kind):
            return lower(builder, name, module, value, node)
    raise Fault(
        f"module {name} ({type(module).__name__}): not an operation on integers; allowed beside "
        f"convolutions, linear layers and batch norms: {', '.join(k.__name__ for k in _BY_CLASS)}"
    )


def _require_torch(name: str, module: Any) -> None:
    """Refuse a subclass of a module of torch that computes something else."""
    kinds = type(module).__mro__
    plain: Any = next(kind for kind in kinds if kind.__module__.startswith("torch.nn.modules"))
    own = [getattr(module, method, None) for method in ("forward", "_conv_forward")]
    torchs = [getattr(plain, method, None) for method in ("forward", "_conv_forward")]
    if plain is not nn.Module and [getattr(each, "__func__", each) for each in own] != torchs:
        raise Fault(
            f"module {name} ({type(module).__name__}): computes something else than torch's "
            f"{plain.__name__}; use that"
        )


def _activate(builder: Builder, name: str, module: Any, value: Value, node: fx.Node) -> Value:
    match module:
        case nn.ReLU6():
            return value.activate(Activation(0, 6))
        case nn.Hardtanh():
            return value.activate(Activation(module.min_val, module.max_val))
        case nn.ReLU():
            return value.activate(Activation(0))
    slope = np.array(module.negative_slope) if isinstance(module, nn.LeakyReLU) else None
    if slope is None:
        slope = read_numbers(module.weight)
    if (slope <= 0).any():
        raise Fault(f"module {name}: a slope that is not above 0 is no rising function")
    channels = np.broadcast_to(slope, (value.shape[0],)).astype(np.float64)
    return value.activate(Activation(slope=channels))


def _max_pool(builder: Builder, name: str, module: Any, value: Value, node: fx.Node) -> Value:
    flat = isinstance(module, nn.MaxPool1d)
    stride = module.stride if module.stride is not None else module.kernel_size
    numbers = (module.kernel_size, stride, module.padding, module.dilation)
    if not flat:
        window = shapes.Window(*(shapes.pair(number) for number in numbers))
        return shapes.max_pool(builder, name, value, window, shape_of(node)[1:])
    across = [(neutral, _number(n)) for neutral, n in zip((1, 1, 0, 1), numbers, strict=True)]
    image = shapes.reshape(builder, f"{name}.image", value, (value.shape[0], 1, value.shape[1]))
    pooled = shapes.max_pool(builder, name, image, shapes.Window(*across), (1, shape_of(node)[1]))
    return shapes.reshape(builder, f"{name}.row", pooled, shape_of(node))


def _number(value: Any) -> int:
    return int(value if isinstance(value, int) else value[0])


def _average(builder: Builder, name: str, module: Any, value: Value, node: fx.Node) -> Value:
    pads = shapes.pair(module.padding)
    if any(pads) and not module.count_include_pad:
        raise Fault(f"module {name}: an average that leaves its border out; count_include_pad=True")
    if module.divisor_override is not None or module.ceil_mode:
        raise Fault(f"module {name}: an average with ceil_mode or a divisor of its own")
    kernel, stride = shapes.pair(module.kernel_size), shapes.pair(module.stride)
    height, width = shape_of(node)[1:]
    return shapes.average_pool(builder, name, value, kernel, stride, pads, (height, width))


def average_to(builder: Builder, name: str, value: Value, extent: tuple[int, int]) -> Value:
    """Average to a size, (height, width), that divides the input's."""
    height, width = value.shape[1:]
    if height % extent[0] or width % extent[1]:
        raise Fault(
            f"{name}: an average of {height}x{width} to {extent[0]}x{extent[1]}: windows differ"
        )
    kernel = (height // extent[0], width // extent[1])
    return shapes.average_pool(builder, name, value, kernel, kernel, (0, 0), extent)


def _adaptive_average(
    builder: Builder, name: str, module: Any, value: Value, node: fx.Node
) -> Value:
    height, width = shape_of(node)[1:]
    return average_to(builder, name, value, (height, width))


def _adaptive_max(builder: Builder, name: str, module: Any, value: Value, node: fx.Node) -> Value:
    (height, width), (out_height, out_width) = value.shape[1:], shape_of(node)[1:]
    if height % out_height or width % out_width:
        raise Fault(f"module {name}: windows of different sizes")
    kernel = (height // out_height, width // out_width)
    window = shapes.Window(kernel, kernel)
    return shapes.max_pool(builder, name, value, window, (out_height, out_width))


def _flatten(builder: Builder, name: str, module: Any, value: Value, node: fx.Node) -> Value:
    return shapes.reshape(builder, name, value, shape_of(node))


def _pad(builder: Builder, name: str, module: Any, value: Value, node: fx.Node) -> Value:
    if isinstance(module, nn.ConstantPad2d) and module.value != 0:
        raise Fault(f"module {name}: a border of {module.value}; allowed: 0")
    left, right, top, bottom = module.padding
    return shapes.pad_zeros(builder, name, value, ((0, 0), (top, bottom), (left, right)))


def _enlarge(builder: Builder, name: str, module: Any, value: Value, node: fx.Node) -> Value:
    if len(value.shape) != 3:
        raise Fault(f"module {name}: allowed: images")
    down, across = (new / old for new, old in zip(shape_of(node)[1:], value.shape[1:], strict=True))
    if module.mode != "nearest" or down % 1 or across % 1:
        raise Fault(f"module {name}: allowed: mode nearest with whole factors")
    return shapes.repeat(builder, name, value, (int(down), int(across)))


_BY_CLASS: dict[type[nn.Module], Lower] = {
    nn.ReLU: _activate,
    nn.ReLU6: _activate,
    nn.Hardtanh: _activate,
    nn.LeakyReLU: _activate,
    nn.PReLU: _activate,
    nn.MaxPool1d: _max_pool,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _average,
    nn.AdaptiveAvgPool2d: _adaptive_average,
    nn.AdaptiveMaxPool2d: _adaptive_max,
    nn.Flatten: _flatten,
    nn.Unflatten: _flatten,
    nn.ZeroPad2d: _pad,
    nn.ConstantPad2d: _pad,
    nn.Upsample: _enlarge,
}
