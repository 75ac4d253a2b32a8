"""What a planned network costs: parameters, multiply-accumulates, bit operations, bytes."""

from __future__ import annotations

from dataclasses import dataclass

from qcli.quantization.plan import Plan

FORMULA = (
    "bit operations (BOPs) = sum over layers of MACs x weight bits x input bits, 32 for float; "
    "weight bytes = sum over layers of weights x weight bits / 8, rounded up, as N2D2 counts: "
    "without biases, norms and parameters of quantizers; 1 MB = 10^6 bytes"
)


@dataclass(frozen=True)
class Cost:
    """Totals of a plan, for one image; `FORMULA` says how they are counted.

    Args:
        parameters: Trainable numbers of the float network.
        weights: Those of the quantizable layers' weights.
        macs: Multiply-accumulates.
        bit_operations: MACs times the widths of both factors.
        weight_bytes: Memory of the weights at their planned widths.
        float_bytes: Memory of the same weights as float32.
    """

    parameters: int
    weights: int
    macs: int
    bit_operations: int
    weight_bytes: int
    float_bytes: int

    @property
    def weight_megabytes(self) -> float:
        """The memory of the weights in units of 10^6 bytes, as tables print it."""
        return self.weight_bytes / 1e6


def count_cost(plan: Plan) -> Cost:
    """Count what a planned network costs."""
    rows = plan.layers
    return Cost(
        parameters=plan.parameters,
        weights=sum(row.weights for row in rows),
        macs=sum(row.macs for row in rows),
        bit_operations=sum(row.macs * row.weight_bits * row.input_bits for row in rows),
        weight_bytes=sum(-(-row.weights * row.weight_bits // 8) for row in rows),
        float_bytes=4 * sum(row.weights for row in rows),
    )
