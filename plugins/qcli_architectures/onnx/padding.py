"""The paddings of ONNX nodes, for torch: symmetric ones inside a layer, others before it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from qcli_architectures.onnx.node import Node

Pair = tuple[int, int]
Sides = tuple[int, int, int, int]  # left, right, top, bottom


def find_pads(node: Node, kernel: Sequence[int]) -> list[int]:
    """Return [top, left, bottom, right] of a convolution or a pooling.

    Args:
        node: With `pads` or `auto_pad`.
        kernel: Height and width.
    """
    mode = node.attributes.get("auto_pad", b"NOTSET").decode()
    if not mode.startswith("SAME"):
        return list(node.attributes.get("pads", (0, 0, 0, 0)))
    strides, dilations = pair(node, "strides"), pair(node, "dilations")
    totals = [
        max((-(-length // stride) - 1) * stride + (size - 1) * dilation + 1 - length, 0)
        for length, size, stride, dilation in zip(
            node.input_shape()[2:], kernel, strides, dilations, strict=True
        )
    ]
    less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return [*less, *more] if mode == "SAME_UPPER" else [*more, *less]


def pair(node: Node, attribute: str) -> Pair:
    """Return an attribute of height and width, 1 where it is left out."""
    height, width = node.attributes.get(attribute, (1, 1))
    return height, width


def split_pads(
    pads: Sequence[int], kernel: Sequence[int] | None = None
) -> tuple[Pair, Sides | None]:
    """Return what torch pads inside a layer, and what must be padded before it.

    Args:
        pads: [top, left, bottom, right].
        kernel: Of a pooling, which pads by half of it at most; None: of a convolution.
    """
    top, left, bottom, right = pads
    allowed = kernel is None or (2 * top <= kernel[0] and 2 * left <= kernel[1])
    if (top, left) == (bottom, right) and allowed and min(pads) >= 0:
        return (top, left), None
    return (0, 0), (left, right, top, bottom)


def make_pad(node: Node) -> dict[str, nn.Module]:
    """Return the module of a Pad."""
    pads = node.option("pads", 1, [])
    rank = len(node.input_shape())
    axes = node.find(3)
    begins, ends = [0] * rank, [0] * rank
    for number, axis in enumerate(range(rank) if axes is None else axes.tolist()):
        begins[axis], ends[axis] = pads[number], pads[number + len(pads) // 2]
    if rank != 4 or begins[0] or ends[0]:
        raise node.refuse(f"pads {pads}, allowed: channels, height and width of images")
    sides = [length for axis in (3, 2, 1) for length in (begins[axis], ends[axis])]
    return {"": _pad_module(node, sides)}


def _pad_module(node: Node, sides: Sequence[int]) -> nn.Module:
    """Return what pads by [left, right, top, bottom, channels before, channels behind]."""
    mode = node.attributes.get("mode", b"constant").decode()
    value = float(node.option("value", 2, 0.0))
    left, right, top, bottom, before, behind = sides
    if mode == "constant" and (before or behind):
        return nn.ConstantPad3d((left, right, top, bottom, before, behind), value)
    four = (left, right, top, bottom)
    if mode == "constant":
        return nn.ConstantPad2d(four, value) if value else nn.ZeroPad2d(four)
    kinds = {"reflect": nn.ReflectionPad2d, "edge": nn.ReplicationPad2d}
    if mode not in kinds or before or behind:
        raise node.refuse(f"pads by {mode}, allowed: constant; of height and width reflect, edge")
    return kinds[mode](four)
