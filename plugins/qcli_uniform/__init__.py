"""Uniform quantizers: levels at equal distances."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qcli import QuantizerEntry, hookimpl
from qcli_uniform.clip_options import CG_PACT_OPTIONS, PACT_OPTIONS, SAT_OPTIONS, WRPN_OPTIONS


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
            "bits": {
                "description": "The width of a code in bits; 32: float.",
                "type": "integer",
                "enum": [1, 2, 3, 4, 5, 6, 7, 8, 32],
                "default": 4,
            },
            "gradient_through_max": {
                "description": (
                    "Whether the gradient of weights also flows through their maximum, as in "
                    "the authors' code; weights of 2 bits and more alone have one."
                ),
                "type": "boolean",
                "default": True,
            },
            "gradient_bits": {
                "description": (
                    "The width of the gradient of a layer's output, rounded with noise; 32: "
                    "float. For outputs alone; bits 32 beside it leaves their values as they are."
                ),
                "type": "integer",
                "enum": [1, 2, 3, 4, 5, 6, 7, 8, 32],
                "default": 32,
            },
            "keep_nonlinearity": {
                "description": "With 32 bits: whether activations are still clipped to [0, 1].",
                "type": "boolean",
                "default": False,
            },
        },
    )


_UNIFORM_OPTIONS: dict[str, Any] = {
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
            "What follows the range of inputs and outputs: minmax (calibration alone), "
            "ema (calibration, then an average over training steps) or percentile "
            "(calibration alone, without the outermost values)."
        ),
        "enum": ["minmax", "ema", "percentile"],
        "default": "ema",
    },
    "momentum": {
        "description": "The share of the old range that the average keeps.",
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
        "default": 0.9,
    },
    "percentile": {
        "description": (
            "With percentile: the range ends at this percentile and at its mirror image, "
            "averaged over the calibration batches."
        ),
        "type": "number",
        "minimum": 50,
        "maximum": 100,
        "default": 99.9,
    },
    "freeze_at_fraction": {
        "description": ("With ema: the fraction of training from which the range stays; 1: never."),
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 1.0,
    },
}


def _uniform() -> QuantizerEntry:
    return QuantizerEntry(
        name="uniform",
        summary="Minimum and maximum set the range; the baseline of every comparison.",
        source="Jacob et al., CVPR 2018, arXiv:1712.05877",
        build="qcli_uniform.uniform:Uniform",
        options=_UNIFORM_OPTIONS,
    )


def _pact() -> QuantizerEntry:
    return QuantizerEntry(
        name="pact",
        summary="Activations cut at a trained clip, with DoReFa's weights.",
        source="Choi et al., PACT, 2018, arXiv:1805.06085",
        build="qcli_uniform.pact:PACT",
        options=PACT_OPTIONS,
    )


def _cg_pact() -> QuantizerEntry:
    return QuantizerEntry(
        name="cg_pact",
        summary="PACT whose clip also learns from the error of rounding.",
        source=(
            "Jin et al., Towards Efficient Training for Neural Network Quantization, 2019, "
            "arXiv:1912.10207"
        ),
        build="qcli_uniform.pact:CGPACT",
        options=CG_PACT_OPTIONS,
    )


def _sat() -> QuantizerEntry:
    return QuantizerEntry(
        name="sat",
        summary="Scale-adjusted training: tanh-bounded, rescaled weights; CG-PACT activations.",
        source=(
            "Jin et al., Towards Efficient Training for Neural Network Quantization, 2019, "
            "arXiv:1912.10207; N2D2 (CEA-LIST)"
        ),
        build="qcli_uniform.sat:SAT",
        options=SAT_OPTIONS,
    )


def _wrpn() -> QuantizerEntry:
    return QuantizerEntry(
        name="wrpn",
        summary="Weights clipped to [-1, 1], inputs to [0, 1]; the paper widens the network too.",
        source="Mishra et al., WRPN, ICLR 2018, arXiv:1709.01134",
        build="qcli_uniform.wrpn:WRPN",
        options=WRPN_OPTIONS,
    )


@hookimpl
def qcli_register_quantizers() -> Iterable[QuantizerEntry]:
    """Offer lsq, dorefa, uniform, pact, cg_pact, sat and wrpn."""
    return [_lsq(), _dorefa(), _uniform(), _pact(), _cg_pact(), _sat(), _wrpn()]
