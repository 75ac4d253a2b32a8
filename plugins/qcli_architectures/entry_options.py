"""The options that the entries of several networks share."""

from __future__ import annotations

from typing import Any

Options = dict[str, dict[str, Any]]

BLOCK_OPTIONS: Options = {
    "activation": {
        "description": "The activation modules. The identity leaves the activation to a quantizer.",
        "type": "string",
        "enum": ["relu", "relu6", "hardtanh", "prelu", "identity"],
        "default": "relu",
    },
    "block_order": {
        "description": (
            "norm_last: convolution, norm, activation; norm_first: norm, convolution, activation, "
            "pooling, so that binarized inputs come from a norm and never from a ReLU. The first "
            "layer, and what feeds the last one, are alike in both."
        ),
        "type": "string",
        "enum": ["norm_last", "norm_first"],
        "default": "norm_last",
    },
}

STEM_OPTIONS: Options = {
    "stem": {
        "description": (
            "What comes before the blocks: imagenet is a 7x7 convolution and a pooling, which "
            "quarter height and width; cifar is a 3x3 convolution, which keeps them; auto is "
            "cifar for images of at most 64 pixels in height, else imagenet."
        ),
        "type": "string",
        "enum": ["auto", "imagenet", "cifar"],
        "default": "auto",
    }
}

FORM_OPTIONS: Options = {
    "form": {
        "description": (
            "lqnets: as in LQ-Nets, the hidden fully connected layers have a bias, and the norms "
            "of the convolutions learn; hwgq: as in HWGQ, neither."
        ),
        "type": "string",
        "enum": ["lqnets", "hwgq"],
        "default": "lqnets",
    }
}


def describe_batch_norm(placed: str, default: bool) -> Options:
    """Return the option `batch_norm` of a network whose norms take the place of the biases."""
    return {
        "batch_norm": {
            "description": f"Normalize {placed}; the convolutions then have no bias.",
            "type": "boolean",
            "default": default,
        }
    }


def describe_dropout(placed: str) -> Options:
    """Return the option `dropout`, the fraction of values set to zero while training."""
    return {
        "dropout": {
            "description": f"The fraction of values that training sets to zero {placed}.",
            "type": "number",
            "minimum": 0,
            "exclusiveMaximum": 1,
            "default": 0.5,
        }
    }
