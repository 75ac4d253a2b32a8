"""Calls of functions and methods as ONNX operations on float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import fx

from qcli_exporters.float_call import Call
from qcli_exporters.module_operations import pool_to_size
from qcli_exporters.shape_operations import pad, permute, reshape, take_slices


def write_function(call: Call) -> str:
    """Add what a function or a method computes, and return the result's name.

    Raises:
        ExportError: It is none of those known here.
    """
    target: Any = call.node.target
    name = target if isinstance(target, str) else target.__name__
    if name not in _WRITERS:
        raise call.refuse(f"{name} has no ONNX operations here; allowed: {', '.join(_WRITERS)}")
    return _WRITERS[name](call)


def _combine(kind: str) -> Callable[[Call], str]:
    def combine(call: Call) -> str:
        if set(call.node.kwargs) - {"input", "other"}:
            raise call.refuse(f"arguments {sorted(call.node.kwargs)}; allowed: two tensors")
        sides = (call.argument(0, "input"), call.argument(1, "other"))
        return call.add(kind, *(_operand(call, each) for each in sides))

    return combine


def _operand(call: Call, side: Any) -> str:
    return call.name_of(side) if isinstance(side, fx.Node) else call.scalar("number", side)


def _join(call: Call) -> str:
    parts: Sequence[Any] = call.argument(0, "tensors")
    axis = call.argument(1, "dim", 0)
    return call.add("Concat", *(call.name_of(each) for each in parts), axis=axis)


def _pad(call: Call) -> str:
    mode = call.argument(2, "mode", "constant")
    if mode != "constant":
        raise call.refuse(f'pad with mode "{mode}"; allowed: "constant"')
    return pad(call, call.argument(1, "pad"), call.argument(3, "value") or 0.0)


def _rectify(call: Call) -> str:
    return call.add("Relu", call.source)


def _average(call: Call) -> str:
    given = call.argument(1, "dim")
    axes = given if isinstance(given, Sequence) else ()
    if sorted(axis % len(call.source_shape) for axis in axes) != [2, 3]:
        raise call.refuse("mean; allowed: over both axes of the image")
    mean = call.add("GlobalAveragePool", call.source)
    return mean if len(call.shape) == 4 else call.add("Flatten", mean, axis=1)


def _pass(call: Call) -> str:
    return call.source


_WRITERS: dict[str, Callable[[Call], str]] = {
    "add": _combine("Add"),
    "iadd": _combine("Add"),
    "sub": _combine("Sub"),
    "mul": _combine("Mul"),
    "truediv": _combine("Div"),
    "cat": _join,
    "pad": _pad,
    "getitem": take_slices,
    "relu": _rectify,
    "adaptive_avg_pool2d": pool_to_size,
    "mean": _average,
    "flatten": reshape,
    "reshape": reshape,
    "view": reshape,
    "permute": permute,
    "contiguous": _pass,
    "dropout": _pass,
}
