"""How the quantized layers of a network are after training: one line for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qcli.reporting.console import percent
from qcli.reporting.tables import print_table

if TYPE_CHECKING:
    from qcli.quantization.finding import Finding
    from qcli.quantization.health import Health, Numbers

# Of a larger network only the layers with findings are shown.
MOST_LINES = 30
COLUMNS = ("layer", "weight levels", "changed", "value levels", "at the top", "health")


def print_health(health: Health, findings: Sequence[Finding], *, verbose: bool) -> None:
    """Print the health after the last epoch to stderr.

    Args:
        health: Of every quantizer.
        findings: What is sick.
        verbose: Whether every layer of a large network is shown.
    """
    sick: dict[str, list[str]] = {}
    for finding in findings:
        sick.setdefault(finding.layer, []).append(f"{finding.slot}: {finding.kind}")
    layers: dict[str, dict[str, Numbers]] = {}
    for place, numbers in health.items():
        layer, _, slot = place.rpartition(".")
        layers.setdefault(layer, {})[slot] = numbers
    shown = list(layers) if verbose or len(layers) <= MOST_LINES else list(sick)
    rows = [_row(layer, layers[layer], sick.get(layer, [])) for layer in shown]
    if rows:
        print_table(COLUMNS, rows, stderr=True)


def _row(layer: str, slots: Mapping[str, Numbers], sick: Sequence[str]) -> list[str]:
    weight = slots.get("weight", {})
    value = slots.get("input") or slots.get("output") or {}
    flips = _share(weight, "flips")
    return [layer, _use(weight), flips, _use(value), _share(value, "top"), ", ".join(sick) or "ok"]


def _use(numbers: Numbers) -> str:
    if not numbers:
        return ""
    return f"{numbers['levels'] - numbers['unused']:g} of {numbers['levels']:g}"


def _share(numbers: Numbers, name: str) -> str:
    return percent(numbers[name]) if name in numbers else ""
