"""The options of categorical weight search."""

from __future__ import annotations

from typing import Any

from qcli import VALUE_SPACE_SCHEMA

# DNN-weight-search's: max(0.97^epoch, 1e-5).
ANNEALING: dict[str, Any] = {
    "kind": "exponential",
    "start": 1,
    "factor": 0.97,
    "end": 1e-5,
    "every": "epoch",
}

SEARCH_OPTIONS: dict[str, dict[str, Any]] = {
    "value_space": {**VALUE_SPACE_SCHEMA, "default": [-1, 1]},
    "sampling": {
        "description": (
            "What training uses: hard (the likeliest value, with the gradient of the soft one), "
            "soft (the expected value), gumbel (a drawn value, with the gradient of the soft one). "
            "Evaluation always uses the likeliest value."
        ),
        "enum": ["hard", "soft", "gumbel"],
        "default": "hard",
    },
    "temperature": {
        "$ref": "#/$defs/schedule",
        "description": "Divides the logits; the softmax hardens as it falls to 0.",
        "exclusiveMinimum": 0,
        "properties": {"start": {"exclusiveMinimum": 0}, "end": {"minimum": 0}},
        "default": ANNEALING,
    },
    "randomness": {
        "$ref": "#/$defs/schedule",
        "description": "Factor on the Gumbel noise of gumbel sampling; other samplings draw none.",
        "default": 1,
    },
    "initial_logits": {
        "description": (
            "Where the logits start: uniform (nearly equal), normal (He), pretrained (each weight "
            "prefers the values nearest to it), auto (pretrained where the weights were trained "
            "before, else uniform)."
        ),
        "enum": ["auto", "uniform", "normal", "pretrained"],
        "default": "auto",
    },
    "confidence": {
        "description": "How strongly pretrained logits prefer the nearest value.",
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 100,
        "default": 1,
    },
    "scale": {
        "description": (
            "A trained factor on the value space, for layers without a batch norm behind them: "
            "none, one per tensor, or one per output channel."
        ),
        "enum": ["none", "tensor", "channel"],
        "default": "none",
    },
    "hard_from_fraction": {
        "description": (
            "From this fraction of training the choice is final: training uses the likeliest "
            "value, and everything but the logits trains on; 1: never."
        ),
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 1.0,
    },
    "growth_fractions": {
        "description": (
            "Fractions of training, one for each bit of the value space but the first: one bit is "
            "open at the beginning, and at each of them one more; none: all values from the start."
        ),
        "type": "array",
        "items": {"type": "number", "minimum": 0, "maximum": 1},
        "default": [],
    },
    "growth_order": {
        "description": (
            "Which values are open with fewer bits: spread (evenly among them) or magnitude (the "
            "outermost ones)."
        ),
        "enum": ["spread", "magnitude"],
        "default": "spread",
    },
}
