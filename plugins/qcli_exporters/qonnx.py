"""QONNX: quantizers of any width as operations of their own, between float32 operations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import qcli
from qcli import Deployment, Quantizer
from qcli_exporters.activation_levels import (
    Staircase,
    UniformLevels,
    read_staircase,
    read_uniform,
)
from qcli_exporters.float_network import write_network
from qcli_exporters.onnx_draft import Array, Draft, Header, save_draft
from qcli_exporters.weight_levels import BookWeight, GridWeight

DOMAIN = "qonnx.custom_op.general"
_OPSET, _IR_VERSION = 13, 7


def write_qonnx(deployment: Deployment, path: Path) -> None:
    """Write the file: weights as Quant and BipolarQuant; activations too, or as MultiThreshold.

    Args:
        deployment: A network.
        path: The file.

    Raises:
        ExportError: A layer has no ONNX operations here.
        MissingTool: onnx is not installed.
    """
    draft, logits = write_network(deployment, _QONNXForm())
    notes = (
        "Fake-quantized network from qcli. image: float32 [N, C, H, W], pixel / 255; "
        "(image - mean) / std of each channel is part of the network. "
        "qonnx-cleanup --override-inpsize sets N."
    )
    header = Header(deployment.name, notes, _OPSET, _IR_VERSION, {DOMAIN: 1})
    save_draft(draft, path, header, deployment.image_shape, logits)


@dataclass(frozen=True)
class _Width:
    """The integers that Quant cuts to.

    Args:
        bits: Of an integer, its sign included.
        signed: Whether it has one.
        narrow: Whether the least of signed integers, or the greatest of others, is left out.
    """

    bits: int
    signed: bool
    narrow: bool = False

    @property
    def limits(self) -> tuple[int, int]:
        half = 1 << self.bits - 1
        return (self.narrow - half, half - 1) if self.signed else (0, 2 * half - 1 - self.narrow)


def _fit_width(low: int, high: int) -> _Width:
    """Return the narrowest width that holds two integers."""
    if low >= 0:
        return _Width(max(1, high.bit_length()), signed=False)
    # A signed integer of 1 bit would be read as -1 or 1.
    full = _Width(max(2, 1 + max(-1 - low, high).bit_length()), signed=True)
    return replace(full, narrow=low > full.limits[0])


class _QONNXForm:
    def write_weight(self, draft: Draft, name: str, weight: GridWeight) -> str:
        """Quantize the quantized weight: it is what comes out, bit for bit."""
        shape = [-1 if axis == weight.axis else 1 for axis in range(weight.integers.ndim)]
        step = weight.step.reshape(shape) if weight.step.ndim else weight.step
        values = draft.add_constant(name, weight.integers.astype(np.float32) * step)
        if weight.is_binary and weight.integers.all():
            return _add_sign(draft, name, values, step)
        width = _fit_width(weight.low, weight.high)
        return _add_quant(draft, name, values, step, width)

    def write_codes(self, draft: Draft, name: str, weight: BookWeight) -> str:
        kind = "UINT8" if weight.codebook.shape[-1] <= 1 << 8 else "UINT16"
        codes = draft.add_constant(name, weight.codes, kind)
        return draft.add("Cast", codes, name=f"{name}.codes", to=6)

    def write_activation(self, draft: Draft, name: str, quantizer: Quantizer, source: str) -> str:
        uniform = read_uniform(quantizer)
        width = None if uniform is None else _find_width(uniform)
        if uniform is not None and width is not None:
            step = np.array(uniform.step)
            return _add_quant(draft, name, source, step, width)
        staircase = read_staircase(quantizer)
        if staircase is None:
            raise qcli.ExportError([f"{name}: levels of each channel; allowed: of the tensor"])
        if staircase.is_sign:
            return _add_sign(draft, name, source, np.array(staircase.step))
        return _add_thresholds(draft, name, source, staircase)


def _find_width(levels: UniformLevels) -> _Width | None:
    """Return the width whose every integer is a level; None: there is none.

    Quant adds a zero point before it rounds, which turns ties of x / step to the other side: the
    integers are those without one.
    """
    ends = (levels.low - levels.zero_point, levels.high - levels.zero_point)
    width = _fit_width(*ends)
    known = (replace(width, narrow=narrow) for narrow in (False, True))
    return next((each for each in known if each.limits == ends), None)


def _add_sign(draft: Draft, name: str, source: str, step: Array) -> str:
    scale = draft.add_constant(f"{name}.step", step)
    return draft.add("BipolarQuant", source, scale, name=f"{name}.value", domain=DOMAIN)


def _add_quant(draft: Draft, name: str, source: str, step: Array, width: _Width) -> str:
    numbers = {"step": step, "zero_point": np.zeros(()), "bits": np.array(width.bits)}
    constants = [draft.add_constant(f"{name}.{key}", each) for key, each in numbers.items()]
    return draft.add(
        # IntQuant since qonnx 1.0, which reads both names; what older tools read.
        "Quant",
        source,
        *constants,
        name=f"{name}.value",
        domain=DOMAIN,
        signed=int(width.signed),
        narrow=int(width.narrow),
        rounding_mode="ROUND",
    )


def _add_thresholds(draft: Draft, name: str, source: str, staircase: Staircase) -> str:
    """Count thresholds; where levels are evenly spaced on a grid, scale the count to integers."""
    thresholds = draft.add_constant(f"{name}.thresholds", staircase.thresholds[None, :])
    integers = staircase.integers
    if integers is None or len(set(np.diff(integers))) != 1:
        width = _fit_width(0, len(staircase.levels) - 1)
        count = _add_count(draft, name, (source, thresholds), width, 1, 0)
        place = draft.add("Cast", count, name=f"{name}.codes", to=7)
        levels = draft.add_constant(f"{name}.levels", staircase.levels)
        return draft.add("Gather", levels, place, name=f"{name}.value")
    width = _fit_width(int(integers.min()), int(integers.max()))
    gap, first = int(integers[1] - integers[0]), int(integers[0])
    count = _add_count(draft, name, (source, thresholds), width, gap, first)
    step = draft.add_constant(f"{name}.step", np.array(staircase.step))
    return draft.add("Mul", count, step, name=f"{name}.value")


def _add_count(
    draft: Draft, name: str, inputs: tuple[str, str], width: _Width, gap: int, first: int
) -> str:
    return draft.add(
        "MultiThreshold",
        *inputs,
        name=name,
        domain=DOMAIN,
        out_dtype=f"{'INT' if width.signed else 'UINT'}{width.bits}",
        out_scale=float(gap),
        out_bias=float(first),
    )
