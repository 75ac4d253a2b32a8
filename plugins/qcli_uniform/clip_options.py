"""The options of pact, cg_pact, sat and wrpn."""

from __future__ import annotations

from typing import Any

_BITS: dict[str, Any] = {
    "description": "The width of a code in bits; 32: float.",
    "type": "integer",
    "enum": [1, 2, 3, 4, 5, 6, 7, 8, 32],
    "default": 4,
}
_KEEP_NONLINEARITY: dict[str, Any] = {
    "description": "With 32 bits: whether activations are still clipped.",
    "type": "boolean",
    "default": False,
}
_INITIAL_CLIP: dict[str, Any] = {
    "description": "Where the clip of activations starts.",
    "type": "number",
    "exclusiveMinimum": 0,
}


def _pact_options(gradient: str) -> dict[str, Any]:
    return {
        "bits": _BITS,
        "initial_clip": {**_INITIAL_CLIP, "default": 10.0},
        "gradient": {
            "description": (
                "What the clip learns from: plain (what it cuts off) or calibrated (the error "
                "of rounding too)."
            ),
            "enum": ["plain", "calibrated"],
            "default": gradient,
        },
        "keep_nonlinearity": _KEEP_NONLINEARITY,
    }


PACT_OPTIONS = _pact_options("plain")
CG_PACT_OPTIONS = _pact_options("calibrated")
SAT_OPTIONS: dict[str, Any] = {
    "bits": _BITS,
    "rounding": {
        "description": (
            "Whether anything is rounded; false: the clamp stage, float weights in [-1, 1] and "
            "untouched activations."
        ),
        "type": "boolean",
        "default": True,
    },
    "mode": {
        "description": (
            "The levels of weights: default (odd, no 0), full_range (default with bins of equal "
            "width), symmetric and asymmetric (with 0), integer (as default)."
        ),
        "enum": ["default", "full_range", "symmetric", "asymmetric", "integer"],
        "default": "default",
    },
    "rescale": {
        "description": (
            "Whether weights are scaled to the variance that training needs; auto: where no "
            "norm takes the layer's output."
        ),
        "enum": ["auto", True, False],
        "default": "auto",
    },
    "initial_clip": {**_INITIAL_CLIP, "default": 8.0},
    "gradient_through_max": {
        "description": "Whether the gradient of weights also flows through their maximum.",
        "type": "boolean",
        "default": False,
    },
}
WRPN_OPTIONS: dict[str, Any] = {
    "bits": _BITS,
    "scale": {
        "description": (
            "What 1-bit weights are multiplied by: none (1) or mean (the mean magnitude of the "
            "output channel, as in BWN)."
        ),
        "enum": ["none", "mean"],
        "default": "none",
    },
    "initial_weights": {
        "description": (
            "Where weights start: given, spread (divided by the largest magnitude) or auto (spread "
            "from 2 bits on, but not where trained weights have no norm behind them)."
        ),
        "enum": ["auto", "given", "spread"],
        "default": "auto",
    },
    "keep_nonlinearity": _KEEP_NONLINEARITY,
}
