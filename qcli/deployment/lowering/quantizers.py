"""Quantizers of inputs and outputs, as boundaries of integers."""

from __future__ import annotations

import numpy as np
import torch

from qcli.deployment.graph import Logits, Lookup, Quantize, Tensor
from qcli.deployment.lowering.builder import Builder, Fault
from qcli.deployment.lowering.dyadic import find_midpoints, round_affine, scale_boundaries
from qcli.deployment.lowering.value import Value, single
from qcli.quantization.quantizer import Quantizer


def lower_quantizer(builder: Builder, name: str, quantizer: Quantizer, value: Value) -> Value:
    """Quantize a value: its codes are counted, and become integers times steps."""
    if quantizer.scales_output:
        raise Fault(
            f"{name}: {type(quantizer).__name__} scales the layer's output by its input, pixel by "
            "pixel; turn that scale off"
        )
    thresholds = quantizer.thresholds() if quantizer.quantizes else None
    if thresholds is None:
        raise Fault(f"{name}: {type(quantizer).__name__} does not quantize")
    if quantizer.codebook().dim() != 1:
        raise Fault(f"{name}: levels of each channel, which the next layer cannot sum")
    planes = quantizer.planes()
    if planes is None:
        raise Fault(f"{name}: {quantizer.bits}-bit levels on no grid; take at most 4 bits")
    tau, strict = thresholds.tau.cpu().numpy(), thresholds.strict.cpu().numpy()
    steps, tables = planes.steps.cpu().double().numpy(), planes.integers.cpu().long().numpy().T
    if len(steps) == 1:
        step, levels = float(steps[0]), tables[0]
        return single(_quantize(builder, name, value, quantizer, (tau, strict), levels, step), step)
    codes = np.arange(tables.shape[1])
    counted = _quantize(builder, name, value, quantizer, (tau, strict), codes, None)
    operands = tuple(
        builder.add(
            Lookup,
            f"{name}.{number}",
            (counted,),
            counted.shape,
            table=table[None, :],
            bounds=(int(table.min()), int(table.max())),
        )
        for number, table in enumerate(tables)
    )
    channels = counted.shape[0]
    return Value(operands, np.tile(steps[:, None], (1, channels)), np.zeros(channels))


def _quantize(
    builder: Builder,
    name: str,
    value: Value,
    quantizer: Quantizer,
    thresholds: tuple[np.ndarray, np.ndarray],
    levels: np.ndarray,
    step: float | None,
) -> Tensor:
    bounds = (int(levels.min()), int(levels.max()))
    if value.operands == (builder.image,) and not value.activations:
        table = levels[_pixel_codes(value, quantizer)]
        table = table[:1] if (table == table[0]).all() else table
        return builder.add(Lookup, name, value.operands, value.shape, table=table, bounds=bounds)
    _require_finite(name, value)
    midpoints = find_midpoints(*thresholds)
    rounded = round_affine(value.factors, value.offset, value.magnitudes)
    channels = len(value.offset)
    wanted = value.invert(np.tile(midpoints.points, (channels, 1)))
    boundaries = scale_boundaries(wanted, midpoints.inclusive, rounded.shift)
    return builder.add(
        Quantize,
        name,
        value.operands,
        value.shape,
        multipliers=rounded.multipliers,
        bias=rounded.bias,
        shift=rounded.shift,
        boundaries=boundaries,
        levels=levels,
        step=step,
        bounds=bounds,
    )


def _require_finite(name: str, value: Value) -> None:
    if not (np.isfinite(value.factors).all() and np.isfinite(value.offset).all()):
        raise Fault(f"{name}: what it receives is not finite: the network diverged; train it anew")


def _pixel_codes(value: Value, quantizer: Quantizer) -> np.ndarray:
    """Return the code of each of 256 pixels: [C, 256], computed as training computes it."""
    pixels = torch.arange(256, dtype=torch.float32)[None]
    factor = torch.from_numpy(value.factors[0]).float()[:, None]
    offset = torch.from_numpy(value.offset).float()[:, None]
    images = torch.addcmul(offset, pixels, factor)
    with torch.no_grad():
        codes: np.ndarray = quantizer.codes(images[None, :, :, None])[0, :, :, 0].cpu().numpy()
    return codes


def lower_logits(builder: Builder, value: Value) -> None:
    """End the graph: whole numbers that order classes as the real scores do."""
    if value.activations:
        raise Fault("the network ends with an activation; leave it out: it changes no order")
    if len(value.shape) != 1:
        raise Fault(f"the network returns {len(value.shape)} axes for each image, not [classes]")
    _require_finite("the scores", value)
    rounded = round_affine(value.factors, value.offset, value.magnitudes, shared=True)
    magnitudes = value.magnitudes.astype(np.int64)
    reach = np.abs(rounded.multipliers).T @ magnitudes + np.abs(rounded.bias)
    bound = int(reach.max())
    names = tuple(each.name for each in value.operands)
    tensor = Tensor("logits", value.shape, -bound, bound)
    shift = int(rounded.shift[0])
    builder.nodes.append(Logits(names, tensor, rounded.multipliers, rounded.bias, shift))
