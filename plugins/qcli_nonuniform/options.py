"""The options of lq_nets and quantization_networks."""

from __future__ import annotations

from typing import Any

LQ_NETS_OPTIONS: dict[str, dict[str, Any]] = {
    "bits": {
        "description": (
            "The width of a code in bits, which is the number of basis values; every step "
            "compares with 2^bits levels, and the paper goes to 4."
        ),
        "type": "integer",
        "minimum": 1,
        "maximum": 4,
        "default": 2,
    },
    "moving_average": {
        "description": "The share of the old basis that a step keeps.",
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
        "default": 0.9,
    },
    "ridge": {
        "description": (
            "What the fit adds to its matrix, which counts values; it holds the old basis where "
            "the values say nothing."
        ),
        "type": "number",
        "exclusiveMinimum": 0,
        "default": 1e-4,
    },
}

# Quantization Networks': (epoch + 1) * 5.
ANNEALING: dict[str, Any] = {"kind": "slope", "start": 5, "slope": 5, "every": "epoch"}

QUANTIZATION_NETWORKS_OPTIONS: dict[str, dict[str, Any]] = {
    "bits": {
        "description": (
            "Which values there are where value_space names none: 0..2^bits - 1 for inputs and "
            "outputs; for weights the integers up to 2^(bits-1) - 1 of both signs, {-1, 1} with 1."
        ),
        "type": "integer",
        "minimum": 1,
        "maximum": 5,
        "default": 2,
    },
    "value_space": {
        # A reference cannot allow null beside what it refers to; a condition can.
        "description": "The values before scaling, in any order; null: those of bits.",
        "type": ["array", "object", "null"],
        "if": {"type": ["array", "object"]},
        "then": {"$ref": "#/$defs/value_space"},
        "default": None,
    },
    "sampling": {
        "description": (
            "What training uses: soft (the sum of sigmoids) or hard (the staircase, with the "
            "gradient of the soft form): the weights of the second stage, in which activations "
            "are trained. Evaluation always uses the staircase."
        ),
        "enum": ["soft", "hard"],
        "default": "soft",
    },
    "temperature": {
        "$ref": "#/$defs/schedule",
        "description": "Multiplies what enters the sigmoids; they harden as it grows.",
        "exclusiveMinimum": 0,
        "properties": {"start": {"exclusiveMinimum": 0}},
        "default": ANNEALING,
    },
    "edges": {
        "description": (
            "Where the steps are: kmeans (between the clusters of the values), paper (the same, "
            "but weights have 0 for two values, and -0.05 and 0.05 around the value 0) or linear "
            "(midway between the values of the space)."
        ),
        "enum": ["paper", "kmeans", "linear"],
        "default": "paper",
    },
    "exponent_clamp": {
        "description": (
            "The bound on what enters the sigmoids, which leaves a little gradient to saturated "
            "values; null: none."
        ),
        "type": ["number", "null"],
        "exclusiveMinimum": 0,
        "default": 10.0,
    },
    "backward_slope": {
        "description": (
            "The slope of the sigmoids in the gradient: exact, t1 (of temperature 1) or "
            "t1_times_t (the same, times the temperature)."
        ),
        "enum": ["exact", "t1_times_t", "t1"],
        "default": "exact",
    },
    "tail_fraction": {
        "description": (
            "The share of inputs or outputs that the start leaves out at either end; the value "
            "space then reaches to the largest that is left. Weights are taken whole."
        ),
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 0.5,
        "default": 0.0,
    },
    "learned": {
        "description": "Whether gain and scale are trained.",
        "type": "boolean",
        "default": True,
    },
}
