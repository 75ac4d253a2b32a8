"""What export and verify tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcli.deployment.sizes import count_sizes
from qcli.reporting.console import format_bytes, make_console, percent, print_data
from qcli.reporting.tables import print_table

if TYPE_CHECKING:
    from qcli.deployment.comparison import Agreement
    from qcli.deployment.deployment import Deployment
    from qcli.deployment.graph import Graph
    from qcli.deployment.verdict import Verdict, Verification


def sizes_to_json(deployment: Deployment, path: Path, size: int) -> Mapping[str, Any]:
    """Return the size of an exported form, and of its layers where it has integers."""
    layers = count_sizes(deployment.graph) if deployment.graph else []
    return {
        "schema_version": 1,
        "path": str(path),
        "bytes": size,
        "layers": [
            {
                "layer": each.name,
                "weights": each.weights,
                "float_bytes": each.float_bytes,
                "packed_bytes": each.packed_bytes,
                "side_bytes": each.side_bytes,
            }
            for each in layers
        ],
    }


def print_sizes(deployment: Deployment, path: Path, size: int, told: Mapping[str, Any]) -> None:
    """Print the size of each layer packed against float, in total, and what the exporter tells."""
    console = make_console(stderr=False)
    if deployment.graph:
        layers = count_sizes(deployment.graph)
        columns = ("layer", "weights", "float", "packed", "scales, thresholds")
        rows = [
            (
                each.name,
                f"{each.weights:,}",
                format_bytes(each.float_bytes),
                format_bytes(each.packed_bytes),
                format_bytes(each.side_bytes),
            )
            for each in layers
        ]
        print_table(columns, rows)
        floating = sum(each.float_bytes for each in layers)
        packed = sum(each.packed_bytes for each in layers)
        side = sum(each.side_bytes for each in layers)
        console.print(
            f"weights: {format_bytes(packed)} packed ({packed / 1e6:.3f} MB) instead of "
            f"{format_bytes(floating)} as float32; with scales and thresholds "
            f"{format_bytes(packed + side)} ({(packed + side) / 1e6:.3f} MB)",
            markup=False,
        )
    console.print(f"wrote {path}, {format_bytes(size)}", markup=False, soft_wrap=True)
    for name, value in told.items():
        number = f"{value:,}" if isinstance(value, int) else str(value)
        console.print(f"{name.replace('_', ' ')}: {number}", markup=False)


def print_verification(verification: Verification) -> None:
    """Print a row for every form: exact or where it differs first, and its accuracy."""
    floating = verification.floating
    local = max(floating.rates.values(), default=0.0)
    rows = [
        ("reference", "", "", percent(verification.reference.top1)),
        (
            "float32, fake-quantized",
            f"local mismatch at most {local:.1e}",
            percent(floating.same_class),
            percent(floating.top1),
        ),
        *(_verdict_row(verdict, verification.graph) for verdict in verification.verdicts),
    ]
    print_table(("form", "integers", "same class", "top-1"), rows)
    compared = len(verification.graph.observed)
    print_data(f"{verification.reference.images} test images, {compared} tensors compared")


def _verdict_row(verdict: Verdict, graph: Graph) -> tuple[str, str, str, str]:
    label, agreement, told = verdict.artifact.label, verdict.agreement, tell_verdict(verdict, graph)
    if verdict.skipped or verdict.damaged:
        return (label, told, "", "")
    return (label, told, percent(agreement.same_class), percent(agreement.top1))


def tell_verdict(verdict: Verdict, graph: Graph) -> str:
    """Return what came out for a form: equal, where it differs first, or why it was not run."""
    if verdict.skipped or verdict.damaged:
        return f"{verdict.status}: {verdict.skipped or verdict.damaged}"
    agreement = verdict.agreement
    return "equal" if agreement.is_exact else _tell_divergence(agreement, graph)


def _tell_divergence(agreement: Agreement, graph: Graph) -> str:
    from qcli.deployment.comparison import find_layers

    first = agreement.first_divergence
    assert first is not None
    layers = ", ".join(find_layers(graph, first))
    place = f"{first} (layer {layers})" if layers else first
    return f"differ first in {place}: {agreement.wrong[first]:,} of {agreement.compared[first]:,}"
