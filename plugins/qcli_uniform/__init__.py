"""Uniform quantizers: levels at equal distances."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qcli import QuantizerEntry, hookimpl


def _bits(lowest: int, default: int) -> dict[str, Any]:
    return {
        "description": "The width of a code in bits.",
        "type": "integer",
        "minimum": lowest,
        "maximum": 8,
        "default": default,
    }


_SIGNED = {
    "description": "Whether negative values have codes. Inputs behind a ReLU need none.",
    "type": "boolean",
    "default": True,
}
_GRANULARITY = {
    "description": "Whether a weight has one step, or one for each output channel.",
    "enum": ["tensor", "channel"],
    "default": "tensor",
}


def _lsq() -> QuantizerEntry:
    return QuantizerEntry(
        name="lsq",
        summary="Learned step size: the distance between levels is trained.",
        source="Esser et al., Learned Step Size Quantization, ICLR 2020, arXiv:1902.08153",
        build="qcli_uniform.lsq:LSQ",
        options={
            "bits": _bits(1, 4),
            "signed": _SIGNED,
            "granularity": _GRANULARITY,
            "initial_step": {
                "description": "The step to start from; null: from the data.",
                "type": ["number", "null"],
                "exclusiveMinimum": 0,
                "default": None,
            },
            "learned": {
                "description": "Whether the step is trained.",
                "type": "boolean",
                "default": True,
            },
        },
    )


def _dorefa() -> QuantizerEntry:
    return QuantizerEntry(
        name="dorefa",
        summary="Tanh-normalized weights, inputs clipped to [0, 1]; nothing is learned.",
        source="Zhou et al., DoReFa-Net, 2016, arXiv:1606.06160",
        build="qcli_uniform.dorefa:DoReFa",
        options={
            "bits": _bits(1, 4),
            "gradient_through_max": {
                "description": (
                    "Whether the gradient of weights also flows through their maximum, as in "
                    "the authors' code; weights of 2 bits and more alone have one."
                ),
                "type": "boolean",
                "default": True,
            },
        },
    )


def _uniform() -> QuantizerEntry:
    return QuantizerEntry(
        name="uniform",
        summary="Minimum and maximum set the range; the baseline of every comparison.",
        source="Jacob et al., CVPR 2018, arXiv:1712.05877",
        build="qcli_uniform.uniform:Uniform",
        options={
            "bits": _bits(2, 8),
            "signed": {
                **_SIGNED,
                "description": (
                    "Whether negative values have codes. Symmetric: codes -k..k if true, "
                    "0..2k+1 if false. Asymmetric ranges take in what was observed."
                ),
            },
            "symmetric": {
                "description": "Whether the range is centered on 0; null: only for weights.",
                "type": ["boolean", "null"],
                "default": None,
            },
            "granularity": _GRANULARITY,
            "observer": {
                "description": (
                    "What follows the range of inputs and outputs: minmax (calibration alone) "
                    "or ema (calibration, then an average over training steps)."
                ),
                "enum": ["minmax", "ema"],
                "default": "ema",
            },
            "momentum": {
                "description": "The share of the old range that the average keeps.",
                "type": "number",
                "minimum": 0,
                "exclusiveMaximum": 1,
                "default": 0.9,
            },
        },
    )


@hookimpl
def qcli_register_quantizers() -> Iterable[QuantizerEntry]:
    """Offer lsq, dorefa and uniform."""
    return [_lsq(), _dorefa(), _uniform()]
