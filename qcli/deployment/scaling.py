"""Coarser affines for hardware without wide multipliers: not equal to the reference, and said so.

Source: N2D2 (CEA-LIST), scaling modes of its quantized exports: fixed-point multipliers of 16 and
    32 bits, one and two shifts; the bias and the clip are whole numbers of the accumulator's unit,
    and code = (multiplier * clip(accumulator + bias) + half) >> shift
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from qcli.deployment.graph import Graph, Integers, Quantize
from qcli.deployment.lowering.dyadic import FAR, Reals
from qcli.errors import ExportError

EXACT = "exact"


# Of a level: thresholds between float32 numbers lie that near to halves; learned ones do not.
OFF_HALF = 1e-3
LARGEST_FACTOR = 1 << 12

# Of factors [J, C] the multipliers and the shift [C].
Approximate = Callable[[Reals], tuple[Integers, Integers]]


def coarsen(graph: Graph, scaling: str) -> Graph:
    """Return the graph with every requantization in a coarser form.

    Args:
        graph: The exact one.
        scaling: A name of `SCALINGS`.

    Raises:
        ExportError: Levels are not 0, 1, 2, ..., thresholds not halfway between them, or a factor
            is too large.
    """
    if scaling == EXACT:
        return graph
    quantizing = [node for node in graph.nodes if isinstance(node, Quantize)]
    faults = [fault for node in quantizing for fault in _faults(node)]
    if faults:
        raise ExportError([f"{fault}; use --scaling exact" for fault in faults])
    nodes = tuple(
        _coarsen_node(node, SCALINGS[scaling]) if isinstance(node, Quantize) else node
        for node in graph.nodes
    )
    return Graph(graph.image, nodes, {**graph.facts, "scaling": scaling})


def _faults(node: Quantize) -> list[str]:
    """Say why no multiplier and shift could stand for a node."""
    if node.step is None or (node.levels != np.arange(len(node.levels))).any():
        return [f"{node.name}: its levels are not 0, 1, 2, ..., which a multiplier could reach"]
    unit = np.ldexp(node.step, node.shift)[:, None]
    halves = np.arange(1, len(node.levels)) - 0.5
    reached = np.abs(node.boundaries) < FAR
    if (reached & (np.abs(node.boundaries / unit - halves) > OFF_HALF)).any():
        return [f"{node.name}: its thresholds do not lie halfway between levels"]
    if (np.abs(node.multipliers) / unit[:, 0] >= LARGEST_FACTOR).any():
        return [f"{node.name}: a sum of 1 is {LARGEST_FACTOR} levels or more"]
    return []


def _coarsen_node(node: Quantize, approximate: Approximate) -> Quantize:
    """Return the node with a multiplier as hardware has it, and boundaries that follow from it."""
    assert node.step is not None
    unit = np.ldexp(node.step, node.shift)
    factors, offset = node.multipliers / unit, node.bias / unit
    multipliers, shift = approximate(factors)
    scale = np.abs(multipliers).max(0)
    # A bias register counts in units of the accumulator; without a factor it holds the result.
    largest = np.where(scale == 0, 1, np.abs(factors).max(0))
    bias = np.where(scale == 0, np.rint(np.ldexp(offset, shift)), np.rint(offset / largest) * scale)
    codes = np.arange(1, len(node.levels))
    boundaries = (codes[None] << shift[:, None]) - (1 << (shift[:, None] - 1))
    reached = np.abs(node.boundaries) < FAR
    return replace(
        node,
        multipliers=multipliers,
        bias=bias.astype(np.int64),
        shift=shift,
        boundaries=np.where(reached, boundaries, node.boundaries),
    )


def _fixed(bits: int) -> Approximate:
    """Return a multiplier of so many bits, sign included, over a shift of each channel."""

    def approximate(factors: Reals) -> tuple[Integers, Integers]:
        exponent = np.frexp(np.abs(factors).max(0))[1].astype(np.int64)
        shift = np.clip(bits - 1 - exponent, 1, 40)
        most = (1 << (bits - 1)) - 1
        return np.clip(np.rint(np.ldexp(factors, shift)), -most, most).astype(np.int64), shift

    return approximate


def _shifts(count: int) -> Approximate:
    """Return the nearest sum of so many powers of two."""

    def approximate(factors: Reals) -> tuple[Integers, Integers]:
        rest, total = np.abs(factors), np.zeros_like(factors)
        for _ in range(count):
            magnitude = np.abs(rest)
            power = np.exp2(np.rint(np.log2(np.where(magnitude == 0, 1, magnitude))))
            part = np.sign(rest) * power
            total, rest = total + part, rest - part
        exponent = np.frexp(np.abs(total).max(0))[1].astype(np.int64)
        shift = np.clip(20 - exponent, 1, 40)
        return np.rint(np.ldexp(np.sign(factors) * total, shift)).astype(np.int64), shift

    return approximate


SCALINGS: dict[str, Approximate] = {
    "fixed16": _fixed(16),
    "fixed32": _fixed(32),
    "single-shift": _shifts(1),
    "double-shift": _shifts(2),
}
