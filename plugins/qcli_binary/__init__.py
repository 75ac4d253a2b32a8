"""Binary and ternary networks: one or two bits for each weight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qcli import QuantizerEntry, hookimpl

_BITS: dict[str, Any] = {
    "description": "The width of a code in bits; 32: float.",
    "type": "integer",
    "enum": [1, 2, 3, 4, 5, 6, 7, 8, 32],
    "default": 1,
}


def _twn() -> QuantizerEntry:
    return QuantizerEntry(
        name="twn",
        summary="Weights of {-E, 0, E}: threshold and scale follow from the mean magnitude.",
        source="Li et al., Ternary Weight Networks, 2016, arXiv:1605.04711",
        build="qcli_binary.twn:TWN",
        options={
            "threshold_factor": {
                "description": "The threshold as a share of the mean magnitude.",
                "type": "number",
                "minimum": 0,
                "default": 0.7,
            },
            "granularity": {
                "description": (
                    "Whether a weight has one threshold and scale, as in the paper, or one for "
                    "each output channel."
                ),
                "enum": ["tensor", "channel"],
                "default": "tensor",
            },
        },
        quantizes=frozenset({"weight"}),
    )


def _ttq() -> QuantizerEntry:
    return QuantizerEntry(
        name="ttq",
        summary="Weights of {-Wn, 0, Wp}: both values are trained.",
        source="Zhu et al., Trained Ternary Quantization, ICLR 2017, arXiv:1612.01064",
        build="qcli_binary.ttq:TTQ",
        options={
            "threshold": {
                "description": (
                    "What sets the threshold: max (a share of the largest magnitude) or sparsity "
                    "(a share of the weights becomes 0)."
                ),
                "enum": ["max", "sparsity"],
                "default": "max",
            },
            "threshold_factor": {
                "description": "With max: the threshold as a share of the largest magnitude.",
                "type": "number",
                "minimum": 0,
                "exclusiveMaximum": 1,
                "default": 0.05,
            },
            "sparsity": {
                "description": "With sparsity: the share of weights that becomes 0.",
                "type": "number",
                "minimum": 0,
                "exclusiveMaximum": 1,
                "default": 0.5,
            },
            "initial_scales": {
                "description": (
                    "Where the two values start: one, or mean (the mean magnitude on each side, "
                    "which keeps the scale of a trained network)."
                ),
                "enum": ["one", "mean"],
                "default": "one",
            },
        },
        quantizes=frozenset({"weight"}),
    )


_QNN_OPTIONS: dict[str, Any] = {
    "bits": _BITS,
    "scheme": {
        "description": "The levels: linear (equal distances) or log (powers of two).",
        "enum": ["linear", "log"],
        "default": "linear",
    },
    "signed": {
        "description": (
            "Whether negative values have codes: true behind a HardTanh or a norm and for "
            "weights, false for inputs behind a ReLU."
        ),
        "type": "boolean",
        "default": True,
    },
    "stochastic": {
        "description": "Whether the signs of 1-bit weights are drawn in training.",
        "type": "boolean",
        "default": False,
    },
    "lr_scale": {
        "description": (
            "The factor on the learning rate of weights: none (1) or glorot "
            "(1 / sqrt(1.5 / (fan_in + fan_out)), as in the authors' code)."
        ),
        "enum": ["none", "glorot"],
        "default": "none",
    },
    "initial_weights": {
        "description": (
            "Where weights start: given (cut to [-1, 1]), spread (divided by the largest "
            "magnitude) or auto (spread from 2 bits on, but not where trained weights "
            "have no norm behind them)."
        ),
        "enum": ["auto", "given", "spread"],
        "default": "auto",
    },
    "keep_nonlinearity": {
        "description": (
            "With 32 bits: whether activations are still clipped, to [-1, 1] or, "
            "unsigned, to [0, 1]."
        ),
        "type": "boolean",
        "default": False,
    },
}


def _qnn() -> QuantizerEntry:
    return QuantizerEntry(
        name="qnn",
        summary="Signs, fixed-point numbers or powers of two in [-1, 1], without scale; BNN.",
        source="Hubara et al., Quantized Neural Networks, 2016, arXiv:1609.07061",
        build="qcli_binary.qnn:QNN",
        options=_QNN_OPTIONS,
    )


def _xnor() -> QuantizerEntry:
    return QuantizerEntry(
        name="xnor",
        summary="Signs; of weights times the mean magnitude of the output channel: XNOR-Net, BWN.",
        source="Rastegari et al., XNOR-Net, ECCV 2016, arXiv:1603.05279",
        build="qcli_binary.xnor:XNOR",
        options={
            "bits": {
                **_BITS,
                "description": "The width of a code in bits; 32: float. Weights have 1 or 32.",
            },
            "gradient": {
                "description": (
                    "The gradient of weights: paper, exact (all of it that flows through the "
                    "mean magnitude) or ste (unchanged)."
                ),
                "enum": ["paper", "exact", "ste"],
                "default": "paper",
            },
            "center": {
                "description": (
                    "Whether the mean over input channels is taken from weights and they are cut "
                    "to [-1, 1], at the start and after every step."
                ),
                "type": "boolean",
                "default": True,
            },
            "gradient_factor": {
                "description": (
                    "What the gradient of weights is multiplied by: none (1) or fan_in (the "
                    "weights of an output channel)."
                ),
                "enum": ["none", "fan_in"],
                "default": "none",
            },
            "input_scale": {
                "description": (
                    "Whether the layer's output is multiplied by the mean magnitude of the inputs "
                    "behind it; for inputs of 1 bit. It stays float when deployed."
                ),
                "type": "boolean",
                "default": False,
            },
        },
    )


@hookimpl
def qcli_register_quantizers() -> Iterable[QuantizerEntry]:
    """Offer the binary and ternary quantizers of weights and inputs."""
    return [_qnn(), _xnor(), _twn(), _ttq()]
