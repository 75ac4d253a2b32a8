"""What kind of operation a traced call is, and its settings in words."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from qcli.quantization.survey import QUANTIZABLE

# They pass on in eval mode what they receive.
NOTHING = "nothing"
# They choose and move values: what came with few bits leaves with few bits.
MOVING = ("max pool", "reshape", "pad", NOTHING)

_BY_CALL = {
    "add": ("add", "iadd", "add_", "sub"),
    "multiply": ("mul", "imul", "mul_", "div", "truediv", "matmul"),
    "concat": ("cat", "concat", "concatenate", "stack"),
    "norm": ("batch_norm", "layer_norm", "group_norm", "local_response_norm", "normalize"),
    "activation": (
        *("relu", "relu_", "relu6", "hardtanh", "clamp", "clip", "clamp_", "tanh", "sigmoid"),
        *("gelu", "silu", "leaky_relu", "hardswish", "hardsigmoid", "softmax", "sign"),
    ),
    "max pool": ("max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool2d"),
    "pool": ("avg_pool2d", "adaptive_avg_pool2d", "mean"),
    "reshape": (
        *("flatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze"),
        *("getitem", "chunk", "split"),
    ),
    "pad": ("pad",),
    NOTHING: ("dropout", "contiguous", "clone", "to", "float", "detach"),
}
_KIND_OF_CALL = {name: kind for kind, names in _BY_CALL.items() for name in names}
# The first that the name of a module's class contains.
_BY_CLASS = {
    "Attention": "other",
    "Norm": "norm",
    "MaxPool": "max pool",
    "Pool": "pool",
    "Flatten": "reshape",
    "Shuffle": "reshape",
    "Dropout": NOTHING,
    "Identity": NOTHING,
    "Pad": "pad",
}


def kind_of_call(name: str) -> str:
    """Return the kind of a function or method."""
    return _KIND_OF_CALL.get(name, "other")


def kind_of_module(module: nn.Module) -> str:
    """Return the kind of a module that is a single call."""
    if isinstance(module, QUANTIZABLE):
        return "linear" if isinstance(module, nn.Linear) else "conv"
    name = type_name(module)
    found = next((kind for part, kind in _BY_CLASS.items() if part in name), None)
    is_activation = any(each.__module__ == nn.ReLU.__module__ for each in type(module).__mro__)
    return found or ("activation" if is_activation else "other")


def call_name(node: fx.Node) -> str:
    """Return the name of the function or method that is called."""
    return str(getattr(node.target, "__name__", node.target))


def type_name(module: nn.Module) -> str:
    """Return the class of a module as it was written, whatever a parametrization made of it."""
    return type(module).__name__.removeprefix("Parametrized")


def describe_module(module: nn.Module) -> str:
    """Return the settings that shape what a module computes, such as "3x3 /2, 4 groups"."""
    kernel, stride = getattr(module, "kernel_size", None), getattr(module, "stride", None)
    if kernel is None:
        return ""
    usual = _sides(kernel) if "Pool" in type_name(module) else (1, 1)
    down = _sides(stride) if stride else usual
    step = "" if down in (usual, (1, 1)) else f" /{'x'.join(map(str, dict.fromkeys(down)))}"
    groups = getattr(module, "groups", 1)
    depthwise = groups == getattr(module, "in_channels", 0)
    split = "" if groups == 1 else ", depthwise" if depthwise else f", {groups} groups"
    return f"{'x'.join(map(str, _sides(kernel)))}{step}{split}"


def _sides(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)
