"""What `verify.json` says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

from qcli.deployment.comparison import find_layers
from qcli.deployment.graph import Graph
from qcli.deployment.hashing import hash_path
from qcli.deployment.packed import pack_graph

if TYPE_CHECKING:
    from qcli.deployment.verdict import Verdict, Verification

PACKAGES = ("qcli", "torch", "numpy", "onnx", "onnxruntime")


def certify(verification: Verification, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the certificate as JSON.

    Args:
        verification: What came out.
        facts: What it is about.
    """
    floating, graph = verification.floating, verification.graph
    return {
        "schema_version": 1,
        "holds": not verification.faults,
        "faults": verification.faults,
        **facts,
        "graph": dict(graph.facts),
        "versions": _versions(),
        "images": verification.reference.images,
        "images_available": verification.available,
        "pixels_sha256": verification.pixels_sha256,
        "graph_sha256": hashlib.sha256(pack_graph(graph)).hexdigest(),
        "reference": {"top1": verification.reference.top1},
        "float": {
            "top1": floating.top1,
            "argmax_agreement": floating.same_class,
            "local_mismatch": floating.rates,
            "score_error": floating.score_error,
        },
        "forms": [_verdict_to_json(verdict, graph) for verdict in verification.verdicts],
    }


def _verdict_to_json(verdict: Verdict, graph: Graph) -> dict[str, Any]:
    artifact, agreement = verdict.artifact, verdict.agreement
    row: dict[str, Any] = {
        "form": artifact.label,
        "format": artifact.entry.name,
        "sha256": hash_path(artifact.path) if artifact.path.exists() else None,
        "lossy": artifact.lossy,
        "status": verdict.status,
    }
    if verdict.skipped or verdict.damaged:
        return {**row, "reason": verdict.skipped or verdict.damaged}
    row |= {
        "top1": agreement.top1,
        "argmax_agreement": agreement.same_class,
        "compared": agreement.compared,
        "different": agreement.wrong,
    }
    first = agreement.first_divergence
    if first:
        row["first_divergence"] = {"tensor": first, "layers": find_layers(graph, first)}
    return row


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
