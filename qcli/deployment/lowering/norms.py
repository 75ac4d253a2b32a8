"""Batch norms, as a change of the affine."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from qcli.deployment.lowering.builder import Fault
from qcli.deployment.lowering.dyadic import read_numbers
from qcli.deployment.lowering.value import Value

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def lower_norm(name: str, module: Any, value: Value) -> Value:
    """Fold a batch norm into the affine, whatever the sign of gamma.

    The running statistics are those of eval mode: y = gamma (x - mean) / sqrt(var + eps) + beta.
    """
    if value.activations:
        raise Fault(
            f"norm {name}: it follows an activation that is not quantized; "
            "quantize the activation's output"
        )
    if module.running_mean is None:
        raise Fault(f"norm {name}: it keeps no running statistics")
    mean, variance = read_numbers(module.running_mean), read_numbers(module.running_var)
    factor = 1 / np.sqrt(variance + module.eps)
    beta = np.zeros_like(mean)
    if module.affine:
        factor, beta = factor * read_numbers(module.weight), read_numbers(module.bias)
    return value.scale(factor, beta - mean * factor)
