"""ONNX whose quantizers are QuantizeLinear and DequantizeLinear around float32 operations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import qcli
from qcli import Deployment, Quantizer
from qcli_exporters.activation_levels import UniformLevels, read_uniform
from qcli_exporters.float_network import write_network
from qcli_exporters.onnx_draft import Draft, Header, save_draft
from qcli_exporters.weight_levels import BookWeight, GridWeight

_RANGES = {
    "INT2": (-2, 1),
    "UINT2": (0, 3),
    "INT4": (-8, 7),
    "UINT4": (0, 15),
    "INT8": (-128, 127),
    "UINT8": (0, 255),
    "INT16": (-(1 << 15), (1 << 15) - 1),
    "UINT16": (0, (1 << 16) - 1),
}
_FIRST_OPSETS = {
    **dict.fromkeys(("INT2", "UINT2"), 25),
    **dict.fromkeys(("INT4", "UINT4", "INT16", "UINT16"), 21),
}
_SCALES_OF_CHANNELS = 13
_IR_VERSIONS = {13: 7, 21: 10, 25: 13}


def write_onnx_qdq(deployment: Deployment, path: Path, int2: bool = False) -> None:
    """Write the file, in the lowest opset that holds the network.

    Args:
        deployment: A network whose activations are rounded to multiples of a step.
        path: The file.
        int2: Whether integers of 2 bits are stored as such, which needs opset 25, or in 4 bits.

    Raises:
        ExportError: An activation is quantized otherwise, or a layer has no ONNX operations here.
        MissingTool: onnx is not installed.
    """
    draft, logits = write_network(deployment, _QDQForm(int2))
    kinds = {constant.kind for constant in draft.constants.values()}
    opset = max(_SCALES_OF_CHANNELS, *(_FIRST_OPSETS.get(kind, 0) for kind in kinds))
    notes = (
        "Fake-quantized float32 network from qcli. image: float32 [N, C, H, W], pixel / 255; "
        "(image - mean) / std of each channel is part of the network."
    )
    header = Header(deployment.name, notes, opset, _IR_VERSIONS[opset])
    save_draft(draft, path, header, deployment.image_shape, logits)


class _QDQForm:
    def __init__(self, int2: bool) -> None:
        self.ranges = {
            kind: limits for kind, limits in _RANGES.items() if int2 or "INT2" not in kind
        }

    def write_weight(self, draft: Draft, name: str, weight: GridWeight) -> str:
        kind = self._narrowest(weight.low, weight.high, signed=True)
        if kind is None:
            raise qcli.ExportError(
                [f"{name}: integers from {weight.low} to {weight.high}; allowed: 16 bits"]
            )
        integers = draft.add_constant(name, weight.integers, kind)
        step = draft.add_constant(f"{name}.step", weight.step)
        axis: dict[str, Any] = {"axis": weight.axis} if weight.step.ndim else {}
        return draft.add("DequantizeLinear", integers, step, name=f"{name}.value", **axis)

    def write_codes(self, draft: Draft, name: str, weight: BookWeight) -> str:
        kind = self._narrowest(0, weight.codebook.shape[-1] - 1, signed=False)
        assert kind is not None
        codes = draft.add_constant(name, weight.codes, kind)
        return draft.add("Cast", codes, name=f"{name}.codes", to=6)

    def write_activation(self, draft: Draft, name: str, quantizer: Quantizer, source: str) -> str:
        levels = read_uniform(quantizer)
        kind = None if levels is None else _activation_kind(levels)
        if levels is None or kind is None:
            raise qcli.ExportError(
                [
                    f"{name}: {type(quantizer).__name__} does not round to multiples of a step, "
                    "which is all that QuantizeLinear does; take --format qonnx or onnx-integer"
                ]
            )
        step = draft.add_constant(f"{name}.step", np.array(levels.step))
        zero = draft.add_constant(f"{name}.zero_point", np.array(levels.zero_point), kind)
        if (levels.low, levels.high) != _RANGES[kind]:
            source = _clip(draft, name, levels, source)
        codes = draft.add("QuantizeLinear", source, step, zero, name=name)
        return draft.add("DequantizeLinear", codes, step, zero, name=f"{name}.value")

    def _narrowest(self, low: int, high: int, signed: bool) -> str | None:
        for kind, (least, most) in self.ranges.items():
            if (least < 0) == signed and least <= low and high <= most:
                return kind
        return None


def _activation_kind(levels: UniformLevels) -> str | None:
    """Return a type of whole bytes: runtimes compute with no others."""
    for kind in ("UINT8", "INT8", "UINT16", "INT16"):
        least, most = _RANGES[kind]
        if least <= levels.low and levels.high <= most:
            return kind
    return None


def _clip(draft: Draft, name: str, levels: UniformLevels, source: str) -> str:
    """Cut to the outermost levels: QuantizeLinear cuts to its type alone."""
    ends = {"low": levels.low, "high": levels.high}
    bounds = [
        draft.add_constant(f"{name}.{key}", np.array((end - levels.zero_point) * levels.step))
        for key, end in ends.items()
    ]
    return draft.add("Clip", source, *bounds, name=f"{name}.clipped")
