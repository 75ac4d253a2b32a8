"""Layers, norms and activations of ONNX nodes, as modules with the weights of the file."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from qcli_architectures.onnx.node import Array, Node
from qcli_architectures.onnx.padding import find_pads, pair, split_pads

# The modules of a node in the order of their calls; the key is what its name gets behind it.
Chain = dict[str, nn.Module]


def make_conv(node: Node) -> Chain:
    """Return a convolution, behind a padding where that is not symmetric."""
    weight, bias = node.constant(1), _flat(node.find(2))
    if weight.ndim != 4:
        raise node.refuse(f"its weight has {weight.ndim} dimensions, allowed: 4, as of Conv2d")
    groups, kernel = node.attributes.get("group", 1), (weight.shape[2], weight.shape[3])
    padding, before = split_pads(find_pads(node, kernel))
    conv = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        kernel,
        stride=pair(node, "strides"),
        padding=padding,
        dilation=pair(node, "dilations"),
        groups=groups,
        bias=bias is not None,
    )
    _load(node, {"weight": (conv.weight, weight), "bias": (conv.bias, bias)})
    return {"pad": nn.ZeroPad2d(before), "": conv} if before else {"": conv}


def make_gemm(node: Node) -> Chain:
    """Return alpha * x B + beta * C as a linear layer."""
    weight, bias = node.constant(1), node.find(2)
    if node.attributes.get("transA", 0):
        raise node.refuse("transposes what it receives (transA), allowed: 0")
    weight = weight if node.attributes.get("transB", 0) else weight.T
    weight = weight * node.attributes.get("alpha", 1.0)
    if bias is not None:
        bias = np.broadcast_to(bias * node.attributes.get("beta", 1.0), (1, len(weight)))[0]
    return _linear(node, weight, bias)


def make_matmul(node: Node) -> Chain:
    """Return a linear layer; its bias is that of an Add behind it."""
    weight, bias = node.constant(1), _flat(node.find(2))
    if weight.ndim != 2:
        raise node.refuse(f"its weight has {weight.ndim} dimensions, allowed: 2, as of Linear")
    return _linear(node, weight.T, bias)


def _flat(bias: Array | None) -> Array | None:
    """Return a bias without the axes over which an Add spread it."""
    return None if bias is None else bias.reshape(-1)


def _linear(node: Node, weight: Array, bias: Array | None) -> Chain:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    _load(node, {"weight": (layer.weight, weight), "bias": (layer.bias, bias)})
    return {"": layer}


def make_batch_norm(node: Node) -> Chain:
    """Return a batch norm; torch's momentum is what ONNX's leaves to one."""
    rank = len(node.input_shape())
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
    if rank not in kinds or not node.attributes.get("spatial", 1):
        raise node.refuse("normalizes no channels, allowed: channels of [B, C, H, W] or [B, C]")
    norm = kinds[rank](
        len(node.constant(1)),
        eps=node.attributes.get("epsilon", 1e-5),
        momentum=1 - node.attributes.get("momentum", 0.9),
    )
    state = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    names = ("weight", "bias", "mean", "variance")
    _load(
        node,
        {
            name: (tensor, node.constant(position))
            for position, (name, tensor) in enumerate(zip(names, state, strict=True), 1)
        },
    )
    return {"": norm}


def make_clip(node: Node) -> Chain:
    """Return what clips: a ReLU where there is one that does."""
    low, high = float(node.option("min", 1, -math.inf)), float(node.option("max", 2, math.inf))
    if not low < high:
        raise node.refuse(f"clips to [{low}, {high}], which is empty")
    if low == 0 and high in (6, math.inf):
        return {"": nn.ReLU6() if high == 6 else nn.ReLU()}
    return {"": nn.Hardtanh(low, high)}


def make_prelu(node: Node) -> Chain:
    """Return a PReLU of one slope, or of one for each channel."""
    slope, (_, channels, *places) = node.constant(1), node.input_shape()
    along_channels = (channels, *(1 for _ in places))
    if slope.size != 1 and slope.shape[-len(along_channels) :] != along_channels:
        raise node.refuse(f"its slope is {list(slope.shape)}, allowed: one, or one per channel")
    prelu = nn.PReLU(slope.size)
    _load(node, {"slope": (prelu.weight, slope.reshape(-1))})
    return {"": prelu}


def make_hard_sigmoid(node: Node) -> Chain:
    """Return torch's hard sigmoid, whose slope is 1/6."""
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    if not (math.isclose(alpha, 1 / 6, rel_tol=1e-4) and beta == 0.5):
        raise node.refuse(f"its alpha is {alpha:g} and its beta {beta:g}, allowed: 1/6 and 0.5")
    return {"": nn.Hardsigmoid()}


def make_lrn(node: Node) -> Chain:
    """Return a local response norm."""
    size = node.attributes["size"]
    if size % 2 == 0:
        raise node.refuse(f"its size is {size}, allowed: odd ones, for which ONNX and torch agree")
    alpha, beta = node.attributes.get("alpha", 1e-4), node.attributes.get("beta", 0.75)
    return {"": nn.LocalResponseNorm(size, alpha, beta, node.attributes.get("bias", 1.0))}


def make_dropout(node: Node) -> Chain:
    """Return a dropout."""
    return {"": nn.Dropout(float(node.option("ratio", 1, 0.5)))}


def _load(node: Node, values: dict[str, tuple[Tensor | None, Array | None]]) -> None:
    for name, (tensor, value) in values.items():
        if tensor is None or value is None:
            continue
        if tensor.shape != value.shape:
            raise node.refuse(
                f"its {name} is {list(value.shape)}, allowed: {list(tensor.shape)} as its others"
            )
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(np.array(value, np.float32)))


LAYERS: dict[str, Callable[[Node], Chain]] = {
    "BatchNormalization": make_batch_norm,
    "Clip": make_clip,
    "Conv": make_conv,
    "Dropout": make_dropout,
    "Elu": lambda node: {"": nn.ELU(node.attributes.get("alpha", 1.0))},
    "Gemm": make_gemm,
    "HardSigmoid": make_hard_sigmoid,
    "HardSwish": lambda _: {"": nn.Hardswish()},
    "LeakyRelu": lambda node: {"": nn.LeakyReLU(node.attributes.get("alpha", 0.01))},
    "LRN": make_lrn,
    "MatMul": make_matmul,
    "PRelu": make_prelu,
    "Relu": lambda _: {"": nn.ReLU()},
    "Sigmoid": lambda _: {"": nn.Sigmoid()},
    "Tanh": lambda _: {"": nn.Tanh()},
}
