"""The plan as stable JSON: for `plan --json` and for the run directory."""

from __future__ import annotations

from typing import Any

from qcli.quantization.cost import count_cost
from qcli.quantization.plan import LayerPlan, Plan

SCHEMA_VERSION = 1


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Return {schema_version, layers, totals}."""
    cost = count_cost(plan)
    return {
        "schema_version": SCHEMA_VERSION,
        "layers": [_row(row) for row in plan.layers],
        "totals": {
            "parameters": cost.parameters,
            "weights": cost.weights,
            "macs": cost.macs,
            "bit_operations": cost.bit_operations,
            "weight_bytes": cost.weight_bytes,
            "weight_megabytes": cost.weight_megabytes,
            "float_weight_bytes": cost.float_bytes,
        },
    }


def _row(row: LayerPlan) -> dict[str, Any]:
    slots = {name: slot.to_json() if slot else None for name, slot in row.slots.items()}
    return {
        "layer": row.layer,
        "type": row.type,
        **slots,
        "because": row.because,
        "parameters": row.parameters,
        "weights": row.weights,
        "macs": row.macs,
        "weight_bits": row.weight_bits,
        "input_bits": row.input_bits,
    }
