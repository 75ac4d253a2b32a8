"""A C function that computes one step, and what it reads beside tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qcli.deployment.graph import Tensor
from qcli_exporters.c99.table import Table


@dataclass(frozen=True)
class Function:
    """The function `step_<number>(in..., out, filter)` of a step.

    Args:
        text: Its definition, and those of what it alone calls.
        tables: What it reads from flash.
        filter_bytes: Memory for one unpacked filter, its last parameter; 0: it has none.
        unpacking: (bits, type) of the function that unpacks a filter for it.
    """

    text: str
    tables: tuple[Table, ...] = ()
    filter_bytes: int = 0
    unpacking: tuple[int, str] | None = None


def declare_parameters(inputs: Iterable[tuple[str, Tensor]], output: Tensor) -> str:
    """Return the C parameters of the tensors that a step reads, by name, and of the output."""
    reads = [f"const {tensor.dtype}_t *{name}" for name, tensor in inputs]
    return ", ".join([*reads, f"{output.dtype}_t *restrict out"])
