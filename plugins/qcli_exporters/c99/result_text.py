"""The text of the C function of a quantization or of the scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qcli.deployment.graph import Integers, Logits, Quantize, Tensor
from qcli_exporters.c99.level_form import Form
from qcli_exporters.c99.table import narrow
from qcli_exporters.c99.template import fill

INT32_MAX = (1 << 31) - 1
# `value` is not negative. One less than a half is added where a tie goes down.
ROUNDED = {
    "up": "value >> shift",
    "even": "(value + ((int64_t)1 << (shift - 1)) - 1 + ((value >> shift) & 1)) >> shift",
    "odd": "(value + ((int64_t)1 << (shift - 1)) - ((value >> shift) & 1)) >> shift",
}


def write_result(
    node: Quantize | Logits, form: Form, number: int, operands: Sequence[Tensor]
) -> str:
    """Return the definition of `result_<number>(row, in0, in1, ...)`.

    Args:
        node: What is computed.
        form: With what.
        number: Of the step: the end of the names of its tables.
        operands: What it reads.
    """
    value, value_type = _value(form, number, operands)
    fields = {
        "number": number,
        "parameters": ", ".join(f"{type_of(each)} in{j}" for j, each in enumerate(operands)),
        "value": value,
        "value_type": value_type,
        "out_type": f"{node.output.dtype}_t",
    }
    if isinstance(node, Logits):
        return fill("score.c", **fields)
    fields |= {"level": _level(node, number), "last": len(node.levels) - 1}
    if "shifts" in form.channels:
        return fill("shift.c", **fields, rounded=ROUNDED[form.ties])
    kernel = "grid.c" if "lifts" in form.channels else "steps.c"
    return fill(kernel, **fields, **_count(form))


def type_of(operand: Tensor) -> str:
    """Return the C type in which one number of a tensor is handed over."""
    return "int64_t" if operand.dtype == "int64" else "int32_t"


def have_unit_distance(levels: Integers) -> bool:
    """Whether a level is its code plus the first level."""
    return bool((np.diff(levels) == 1).all())


def _level(node: Quantize, number: int) -> str:
    if not have_unit_distance(node.levels):
        return f"levels_{number}[code]"
    lowest = int(node.levels[0])
    return f"({node.output.dtype}_t)" + (f"(code + {lowest})" if lowest else "code")


def _value(form: Form, number: int, operands: Sequence[Tensor]) -> tuple[str, str]:
    """Return what is compared or rounded, and its type."""
    if "multipliers" in form.channels:
        return _total(number, len(operands)), "int64_t"
    (operand,) = operands
    ends = (operand.low, operand.high, *form.channels["steps"].reshape(-1).tolist())
    kind = "int32_t" if max(map(abs, ends)) <= INT32_MAX else "int64_t"
    return (f"({kind})signs_{number}[row] * in0" if "signs" in form.channels else "in0"), kind


def _total(number: int, num_operands: int) -> str:
    """Return t: the sum of products, and the offset."""
    row = "row" if num_operands == 1 else f"row * {num_operands}"
    places = [row, *(f"{row} + {j}" for j in range(1, num_operands))]
    terms = [f"(int64_t)multipliers_{number}[{each}] * in{j}" for j, each in enumerate(places)]
    return " + ".join([*terms, f"offsets_{number}[row]"])


def _count(form: Form) -> dict[str, Any]:
    """Return what the binary search needs."""
    steps = (form.shared or form.channels)["steps"]
    count = steps.shape[-1]
    half = 1 << (count.bit_length() - 1)
    return {"step_type": f"{narrow(steps).dtype}_t", "count": count, "half": half}
