"""Changes of place and shape as ONNX operations: the same for modules and functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qcli.deployment.lowering.trace import IMAGES
from qcli_exporters.float_call import Call

_END = (1 << 63) - 1


def pad(call: Call, padding: Sequence[int], value: float = 0.0) -> str:
    """Add a border.

    Args:
        call: Where it is written.
        padding: As torch has it: begin and end of the last axis, then of the one before.
        value: What the border holds.
    """
    axes = len(call.source_shape)
    flat = [*padding, *[0] * (2 * axes - len(padding))]
    pads = call.integers("pads", [*flat[-2::-2], *flat[-1::-2]])
    return call.add("Pad", call.source, pads, call.scalar("value", value))


def reshape(call: Call) -> str:
    """Add the values of each image in order in the shape that the trace has seen."""
    if call.shape[:1] != (IMAGES,):
        raise call.refuse(f"it mixes the images of a batch: {call.source_shape} to {call.shape}")
    if len(call.shape) == 2:
        return call.add("Flatten", call.source, axis=1)
    # 0 keeps the size of the batch.
    shape = call.integers("shape", [0, *call.shape[1:]])
    return call.add("Reshape", call.source, shape)


def permute(call: Call) -> str:
    """Add axes in another order, given as torch's `permute` has it."""
    given: Any = call.node.args[1:] or call.node.kwargs.get("dims")
    axes = given[0] if len(given) == 1 and isinstance(given[0], Sequence) else given
    count = len(call.source_shape)
    return call.add("Transpose", call.source, perm=[int(axis) % count for axis in axes])


def take_slices(call: Call) -> str:
    """Add a part of a tensor: x[:, :, ::2, ::2]."""
    given: Any = call.node.args[1]
    parts = given if isinstance(given, tuple) else (given,)
    chosen = [(axis, part) for axis, part in enumerate(parts) if part != slice(None)]
    if not all(_is_plain(part) for _, part in chosen):
        raise call.refuse("it takes a part of a tensor by other than slices of numbers")
    bounds = {
        "starts": [part.start or 0 for _, part in chosen],
        "ends": [_END if part.stop is None else part.stop for _, part in chosen],
        "axes": [axis for axis, _ in chosen],
        "steps": [part.step or 1 for _, part in chosen],
    }
    names = [call.integers(*each) for each in bounds.items()]
    return call.add("Slice", call.source, *names) if chosen else call.source


def _is_plain(part: Any) -> bool:
    if not isinstance(part, slice):
        return False
    numbers = (part.start, part.stop, part.step)
    return all(each is None or isinstance(each, int) for each in numbers)
