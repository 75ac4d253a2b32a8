"""Weights of layers, as sums of integer planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from qcli.deployment.graph import Integers
from qcli.deployment.lowering.builder import Fault
from qcli.deployment.lowering.dyadic import Reals
from qcli.quantization.quantizer import Quantizer


@dataclass(frozen=True)
class Plane:
    """A part of a weight: steps[o] * integers[o, ...].

    Args:
        steps: [O].
        integers: [O, I, KH, KW] or [O, I].
    """

    steps: Reals
    integers: Integers


def read_planes(name: str, module: Any) -> list[Plane]:
    """Return a quantized weight as a sum of planes; channels lie where the weight has them.

    Args:
        name: Of the layer.
        module: The layer.
    """
    parametrization: Any = module.parametrizations.weight
    quantizer: Quantizer = parametrization[0]
    if not isinstance(quantizer, Quantizer) or len(parametrization) > 1:
        names = ", ".join(type(each).__name__ for each in parametrization)
        raise Fault(
            f"layer {name}: its weight is parametrized by {names}; allowed: one weight quantizer"
        )
    planes = quantizer.planes() if quantizer.quantizes else None
    if planes is None:
        raise Fault(f"layer {name}: {_explain(quantizer)}")
    with torch.no_grad():
        codes = quantizer.codes(parametrization.original)
    axis = quantizer.info.channel_axis
    rows = codes.long().movedim(axis, 0).cpu().numpy()
    steps = planes.steps.cpu().double().numpy()
    tables = planes.integers.cpu().long().numpy()
    return [
        Plane(
            np.broadcast_to(steps[..., number], (len(rows),)).astype(np.float64),
            np.moveaxis(_look_up(tables[..., number], rows), 0, axis),
        )
        for number in range(steps.shape[-1])
    ]


def _look_up(table: Integers, rows: Integers) -> Integers:
    """Return the integers of codes [O, ...], by one table [K] or one of each channel [O, K]."""
    if table.ndim == 1:
        return table[rows]
    return np.stack([each[row] for each, row in zip(table, rows, strict=True)])


def _explain(quantizer: Quantizer) -> str:
    kind = type(quantizer).__name__
    if not quantizer.quantizes:
        return f"its weight is float: {kind} does not quantize; give it fewer bits"
    return (
        f"its weight has {quantizer.codebook().shape[-1]} values on no grid ({kind}); take values "
        "on a grid, or at most 16"
    )
