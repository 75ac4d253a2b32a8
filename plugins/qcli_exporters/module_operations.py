"""Modules of torch.nn as ONNX operations on float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from qcli_exporters.float_call import Call
from qcli_exporters.shape_operations import pad, reshape

Write = Callable[[Call], str]


def write_module(call: Call) -> str:
    """Add what a module computes, without its quantizers, and return the result's name.

    Raises:
        ExportError: The module is none of those known here, or has an option that ONNX lacks.
    """
    for kind, write in _WRITERS.items():
        # A subclass that computes something else is another module.
        if isinstance(call.module, kind) and type(call.module).forward is kind.forward:
            return write(call)
    known = ", ".join(kind.__name__ for kind in _WRITERS)
    name = type(call.module).__name__
    raise call.refuse(f"{name} has no ONNX operations here; allowed: {known}")


def _convolve(call: Call) -> str:
    module = call.module
    if module.padding_mode != "zeros":
        raise call.refuse(f'padding_mode "{module.padding_mode}"; allowed: "zeros"')
    flat = module._reversed_padding_repeated_twice
    attributes = {
        "kernel_shape": list(module.kernel_size),
        "strides": list(module.stride),
        "dilations": list(module.dilation),
        # torch has the ends of the last axis first; ONNX wants all begins, then all ends.
        "pads": [*flat[-2::-2], *flat[-1::-2]],
        "group": module.groups,
    }
    if module.transposed:
        attributes["output_padding"] = list(module.output_padding)
    kind = "ConvTranspose" if module.transposed else "Conv"
    return _add_bias(call, call.add(kind, call.source, call.weight, **attributes))


def _multiply(call: Call) -> str:
    if len(call.shape) == 2:
        return _add_bias(call, call.add("Gemm", call.source, call.weight, transB=1))
    turned = call.add("Transpose", call.weight, perm=[1, 0])
    return _add_bias(call, call.add("MatMul", call.source, turned))


def _add_bias(call: Call, product: str) -> str:
    """Add the bias by itself: onnxruntime rounds that of a quantized layer to 32-bit integers."""
    bias = call.module.bias
    if bias is None:
        return product
    shape = [-1] if isinstance(call.module, nn.Linear) else [-1, *[1] * (len(call.shape) - 2)]
    return call.add("Add", product, call.constant("bias", bias.reshape(shape)))


def _normalize(call: Call) -> str:
    module = call.module
    if module.running_mean is None:
        raise call.refuse("it keeps no running statistics")
    count = module.num_features
    numbers = {
        "scale": module.weight if module.affine else torch.ones(count),
        "shift": module.bias if module.affine else torch.zeros(count),
        "mean": module.running_mean,
        "variance": module.running_var,
    }
    constants = [call.constant(*each) for each in numbers.items()]
    return call.add("BatchNormalization", call.source, *constants, epsilon=module.eps)


def _pass(call: Call) -> str:
    return call.source


def _rectify(call: Call) -> str:
    return call.add("Relu", call.source)


def _clip(call: Call) -> str:
    low, high = call.module.min_val, call.module.max_val
    return call.add("Clip", call.source, call.scalar("low", low), call.scalar("high", high))


def _leak(call: Call) -> str:
    return call.add("LeakyRelu", call.source, alpha=call.module.negative_slope)


def _leak_by_channel(call: Call) -> str:
    slopes = call.module.weight.reshape(-1, *[1] * (len(call.shape) - 2))
    return call.add("PRelu", call.source, call.constant("slopes", slopes))


def _pairs(number: Any, axes: int) -> list[int]:
    """Return one number for each axis."""
    return [number] * axes if isinstance(number, int) else list(number)


def _windows(call: Call, dilation: Any = 1) -> dict[str, Any]:
    """Return the attributes of a pool; more border makes the last windows of ceil_mode whole."""
    module, image = call.module, call.source_shape[2:]
    axes = len(image)
    kernel, stride, before, dilations = (
        _pairs(each, axes) for each in (module.kernel_size, module.stride, module.padding, dilation)
    )
    reached = [
        (count - 1) * step + d * (k - 1) + 1
        for count, step, d, k in zip(call.shape[2:], stride, dilations, kernel, strict=True)
    ]
    after = [
        max(pad, end - size - pad) for pad, end, size in zip(before, reached, image, strict=True)
    ]
    return {"kernel_shape": kernel, "strides": stride, "pads": [*before, *after]}


def _pool_maximum(call: Call) -> str:
    windows = _windows(call, call.module.dilation)
    dilations = _pairs(call.module.dilation, len(call.shape) - 2)
    return call.add("MaxPool", call.source, dilations=dilations, **windows)


def _pool_mean(call: Call) -> str:
    module, windows = call.module, _windows(call)
    if module.divisor_override:
        raise call.refuse("divisor_override; leave it out")
    # torch counts the border that was asked for, and none that ceil_mode reaches beyond.
    pads = _pairs(module.padding, len(call.shape) - 2)
    counts = module.count_include_pad and any(pads)
    if counts and windows["pads"] != pads * 2:
        raise call.refuse("ceil_mode with a border that counts; set count_include_pad to false")
    return call.add("AveragePool", call.source, count_include_pad=int(counts), **windows)


def pool_to_size(call: Call) -> str:
    """Add the means of parts of an image that are all of one size."""
    image, result = call.source_shape[2:], call.shape[2:]
    if all(size == 1 for size in result):
        return call.add("GlobalAveragePool", call.source)
    if any(a % b for a, b in zip(image, result, strict=True)):
        raise call.refuse(f"{list(image)} pixels do not part into {list(result)} equal windows")
    kernel = [a // b for a, b in zip(image, result, strict=True)]
    return call.add("AveragePool", call.source, kernel_shape=kernel, strides=kernel)


def _enlarge(call: Call) -> str:
    if call.module.mode != "nearest":
        raise call.refuse(f'mode "{call.module.mode}"; allowed: "nearest"')
    sizes = zip(call.shape, call.source_shape, strict=True)
    scales = np.array([a / b for a, b in sizes])
    if any(scale % 1 for scale in scales):
        raise call.refuse("it enlarges by no whole number")
    place = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    factors = call.constant("scales", scales)
    return call.add("Resize", call.source, "", factors, mode="nearest", **place)


def _widen(call: Call) -> str:
    padding: Sequence[int] = call.module.padding
    return pad(call, padding, getattr(call.module, "value", 0.0))


_CONVOLUTIONS: tuple[Any, ...] = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
#: What multiplies by a weight, which may be quantized.
WEIGHTED = (*_CONVOLUTIONS, nn.Linear)
_WRITERS: dict[Any, Write] = {
    **dict.fromkeys(_CONVOLUTIONS, _convolve),
    nn.Linear: _multiply,
    nn.BatchNorm1d: _normalize,
    nn.BatchNorm2d: _normalize,
    nn.ReLU: _rectify,
    nn.ReLU6: _clip,
    nn.Hardtanh: _clip,
    nn.LeakyReLU: _leak,
    nn.PReLU: _leak_by_channel,
    nn.MaxPool2d: _pool_maximum,
    nn.AvgPool2d: _pool_mean,
    nn.AdaptiveAvgPool2d: pool_to_size,
    nn.Flatten: reshape,
    nn.ZeroPad2d: _widen,
    nn.ConstantPad2d: _widen,
    nn.Upsample: _enlarge,
    nn.Dropout: _pass,
    nn.Identity: _pass,
}
