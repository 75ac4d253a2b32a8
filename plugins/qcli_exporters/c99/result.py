"""The C function that turns the sums of a place into what is stored there: a level or a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qcli.deployment.graph import Integers, Logits, Quantize, Tensor
from qcli_exporters.c99.level_form import Form, choose_form
from qcli_exporters.c99.result_text import have_unit_distance, write_result
from qcli_exporters.c99.rounding import UNREACHABLE
from qcli_exporters.c99.table import Rows, Table, narrow, share_rows


@dataclass(frozen=True)
class Result:
    """A function of a channel and of one number of each operand.

    Args:
        number: Of the step.
        text: Its definition.
        tables: What it reads.
        rows: Which row of the tables a channel has.
    """

    number: int
    text: str
    tables: tuple[Table, ...]
    rows: Rows

    def call(self, channel: str, operands: Sequence[str]) -> str:
        """Return the C expression of the result."""
        row = self.rows.name_row(f"rows_{self.number}", channel)
        return f"result_{self.number}({row}, {', '.join(operands)})"


def make_result(
    node: Quantize | Logits, number: int, operands: Sequence[Tensor], order: Integers | None
) -> Result:
    """Write the function of a quantization or of the scores.

    Args:
        node: What is computed.
        number: Of the step.
        operands: What it reads.
        order: The channel of each place, where they are not in order.
    """
    node = node if order is None else _permute(node, order)
    if isinstance(node, Quantize):
        node = _with_boundary(node)
        form = choose_form(node, operands)
    else:
        form = Form({"multipliers": node.multipliers.T, "offsets": node.bias})
    rows = share_rows(list(form.channels.values()))
    tables = rows.make_tables([f"{key}_{number}" for key in form.channels], f"rows_{number}")
    shared = dict(form.shared)
    if isinstance(node, Quantize) and not have_unit_distance(node.levels):
        shared["levels"] = node.levels
    tables += [Table(f"{key}_{number}", narrow(values)) for key, values in shared.items()]
    return Result(number, write_result(node, form, number, operands), tuple(tables), rows)


def _with_boundary(node: Quantize) -> Quantize:
    """Give a quantization to one level a boundary out of reach: C has no empty arrays."""
    if node.boundaries.shape[1]:
        return node
    never = np.full((len(node.boundaries), 1), UNREACHABLE)
    return replace(node, boundaries=never, levels=node.levels.repeat(2))


def _permute(node: Quantize | Logits, order: Integers) -> Quantize | Logits:
    multipliers, bias = node.multipliers[:, order], node.bias[order]
    if isinstance(node, Logits):
        return replace(node, multipliers=multipliers, bias=bias)
    shift, boundaries = node.shift[order], node.boundaries[order]
    return replace(node, multipliers=multipliers, bias=bias, shift=shift, boundaries=boundaries)
