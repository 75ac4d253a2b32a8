"""Poolings, and what changes the shape alone, of ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from qcli_architectures.onnx.file import Shape
from qcli_architectures.onnx.layers import Chain
from qcli_architectures.onnx.node import Node
from qcli_architectures.onnx.padding import find_pads, make_pad, pair, split_pads


class Reshape(nn.Module):
    """Gives each image of a batch another shape.

    Args:
        shape: Without the batch.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, *shape]."""
        return x.reshape(-1, *self.shape)


class Permute(nn.Module):
    """Changes the order of the axes.

    Args:
        axes: The axes of the input in the order of the output.
    """

    def __init__(self, axes: Shape) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        """Return the input with its axes in another order."""
        return x.permute(self.axes)


class Slice(nn.Module):
    """Cuts a range out of each axis.

    Args:
        slices: One for each axis of the input, the batch too.
    """

    def __init__(self, slices: tuple[slice, ...]) -> None:
        super().__init__()
        self.slices = slices

    def forward(self, x: Tensor) -> Tensor:
        """Return the part of the input that is cut out."""
        return x[self.slices]


def make_max_pool(node: Node) -> Chain:
    """Return a maximum pooling, behind a padding where torch's own cannot be had."""
    kernel = pair(node, "kernel_shape")
    padding, before = split_pads(find_pads(node, kernel), kernel)
    pool = nn.MaxPool2d(
        kernel,
        pair(node, "strides"),
        padding,
        pair(node, "dilations"),
        ceil_mode=bool(node.attributes.get("ceil_mode", 0)),
    )
    if before:
        return {"pad": nn.ConstantPad2d(before, float("-inf")), "": pool}
    return {"": pool}


def make_average_pool(node: Node) -> Chain:
    """Return an average pooling, behind a padding where torch's own cannot be had."""
    kernel = pair(node, "kernel_shape")
    if pair(node, "dilations") != (1, 1):
        raise node.refuse("is dilated, allowed: dilations of 1")
    padding, before = split_pads(find_pads(node, kernel), kernel)
    counts_padding = bool(node.attributes.get("count_include_pad", 0))
    if before and not counts_padding:
        raise node.refuse(
            f"pads unequally ({before} left, right, top, bottom) and leaves the padding out of "
            "the average, allowed: equal pads of at most half the kernel, or count_include_pad 1"
        )
    pool = nn.AvgPool2d(
        kernel,
        pair(node, "strides"),
        padding,
        ceil_mode=bool(node.attributes.get("ceil_mode", 0)),
        count_include_pad=counts_padding,
    )
    return {"pad": nn.ZeroPad2d(before), "": pool} if before else {"": pool}


def make_reduce_mean(node: Node) -> Chain:
    """Return the average over height and width."""
    rank = len(node.input_shape())
    axes = {axis % rank for axis in node.option("axes", 1, range(rank))}
    if rank != 4 or axes != {2, 3}:
        raise node.refuse(f"averages axes {sorted(axes)}, allowed: 2 and 3, height and width")
    pool: Chain = {"": nn.AdaptiveAvgPool2d(1)}
    return pool if node.attributes.get("keepdims", 1) else {**pool, "flatten": nn.Flatten()}


def make_reshape(node: Node) -> Chain:
    """Return what gives each image of a batch another shape, whatever batch the file names."""
    before, after = node.input_shape(), node.output_shape()
    if before[:1] != after[:1]:
        raise node.refuse(
            f"makes {list(after)} of {list(before)}, which mixes images; allowed: the same batch"
        )
    return {"": nn.Flatten() if len(after) == 2 else Reshape(after[1:])}


def make_transpose(node: Node) -> Chain:
    """Return what changes the order of the axes behind the batch."""
    rank = len(node.input_shape())
    axes = tuple(node.attributes.get("perm", reversed(range(rank))))
    if axes[0] != 0:
        raise node.refuse(f"orders the axes {list(axes)}, which moves the batch; allowed: 0 first")
    return {"": Permute(axes)}


def make_slice(node: Node) -> Chain:
    """Return what cuts a range out of axes behind the batch."""
    starts, ends = node.option("starts", 1, []), node.option("ends", 2, [])
    axes = node.option("axes", 3, range(len(starts)))
    steps = node.option("steps", 4, [1] * len(starts))
    slices = [slice(None)] * len(node.input_shape())
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if axis % len(slices) == 0 or step < 1:
            raise node.refuse(f"cuts axis {axis} in steps of {step}, allowed: no batch, forward")
        slices[axis] = slice(start, end, step)
    return {"": Slice(tuple(slices))}


SHAPING: dict[str, Callable[[Node], Chain]] = {
    "AveragePool": make_average_pool,
    "Flatten": make_reshape,
    "GlobalAveragePool": lambda _: {"": nn.AdaptiveAvgPool2d(1)},
    "GlobalMaxPool": lambda _: {"": nn.AdaptiveMaxPool2d(1)},
    "MaxPool": make_max_pool,
    "Pad": make_pad,
    "ReduceMean": make_reduce_mean,
    "Reshape": make_reshape,
    "Slice": make_slice,
    "Squeeze": make_reshape,
    "Transpose": make_transpose,
    "Unsqueeze": make_reshape,
}
