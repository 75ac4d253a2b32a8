"""Boundaries of a `Quantize` of one operand, as integers that its accumulator reaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qcli.deployment.graph import Integers, Quantize, Tensor


@dataclass(frozen=True)
class Steps:
    """code = #{k: sign[c] * accumulator >= thresholds[c, k]}.

    Args:
        thresholds: [C, K - 1], ascending, int32: of one that is never reached, one more than the
            greatest sign * accumulator; always reached, the least.
        signs: [C], 1 or -1.
    """

    thresholds: Integers
    signs: Integers


def find_steps(node: Quantize, operand: Tensor) -> Steps:
    """Divide the boundaries by the multiplier: exact, for integers only reach integers.

    Args:
        node: A quantization of one operand.
        operand: What it counts, with its range.
    """
    multiplier = node.multipliers[0]
    signs = np.where(multiplier < 0, -1, 1)
    magnitude = np.abs(multiplier)[:, None]
    distance = node.boundaries - node.bias[:, None]
    # Python's integer division is of floors: a ceiling is the negative floor of the negative.
    reached = -(-distance // np.maximum(magnitude, 1))
    low = np.where(signs > 0, operand.low, -operand.high)[:, None]
    high = np.where(signs > 0, operand.high, -operand.low)[:, None]
    constant = np.where(distance <= 0, low, high + 1)
    thresholds = np.where(magnitude == 0, constant, np.clip(reached, low, high + 1))
    return Steps(thresholds, signs)
