"""Prove on real images that every form of a network computes the reference's integers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcli.catalog.building import build_entry
from qcli.catalog.entries import ExporterEntry
from qcli.deployment.comparison import Agreement, Results
from qcli.deployment.execution import run_graph
from qcli.deployment.fake_quant import FloatAgreement
from qcli.deployment.graph import Graph, Logits, Quantize
from qcli.deployment.preparation import Prepared
from qcli.deployment.run_images import RunImages
from qcli.deployment.verdict import Artifact, Verdict, Verification
from qcli.errors import ArtifactError, MissingTool, PluginError

# What the observed tensors of one batch may take.
BATCH_BYTES = 1 << 28
MOST_IMAGES_OF_A_BATCH = 1000
# What a form that holds the whole graph says beside its integers.
TOLD = ("facts", "shapes and ranges", "scales")


def verify(
    prepared: Prepared,
    artifacts: Sequence[Artifact],
    *,
    data_dir: Path | None,
    most_images: int | None,
) -> Verification:
    """Run the reference and every form on test images.

    Args:
        prepared: The run, with its exact graph.
        artifacts: The forms.
        data_dir: Where data sets lie; None: where they lay.
        most_images: How many test images; None: all.
    """
    graph, model = prepared.deployment.integers, prepared.deployment.model
    images = RunImages(prepared, data_dir, most_images)
    own, floating, digest = Agreement(), FloatAgreement(), hashlib.sha256()
    verdicts = [Verdict(artifact, Agreement()) for artifact in artifacts]
    for pixels, network_images, labels in images.batches(_batch_size(graph)):
        digest.update(pixels.tobytes())
        expected = run_graph(graph, pixels)
        own.add(expected, expected, labels)
        floating.add_network(model, graph, network_images, expected, labels)
        verdicts = [_judge(verdict, graph, pixels, expected, labels) for verdict in verdicts]
    hashed = digest.hexdigest()
    return Verification(graph, own, floating, tuple(verdicts), images.available, hashed)


def _judge(
    verdict: Verdict,
    graph: Graph,
    images: NDArray[Any],
    expected: Results,
    labels: NDArray[Any],
) -> Verdict:
    """Run one form on a batch, unless it could not run before."""
    if verdict.skipped or verdict.damaged:
        return verdict
    entry = verdict.artifact.entry
    try:
        results = _execute(entry, verdict.artifact.path, images)
        _compare_graphs(verdict, graph)
    except MissingTool as error:
        # What differed before a tool went away differs still.
        differs = verdict.agreement.compared and not verdict.agreement.is_exact
        return verdict if differs else replace(verdict, skipped=str(error))
    except (ArtifactError, PluginError, ValueError) as error:
        return replace(verdict, damaged=str(error).replace("\n", " "))
    verdict.agreement.add(results, expected, labels)
    return verdict


def _execute(entry: ExporterEntry, path: Path, images: NDArray[Any]) -> Results:
    assert entry.execute is not None
    results: Results = build_entry(replace(entry, build=entry.execute), path, images)
    return results


def _compare_graphs(verdict: Verdict, graph: Graph) -> None:
    """Count what a form that holds the whole graph says beside its integers, once."""
    entry = verdict.artifact.entry
    if entry.read is None or verdict.agreement.compared or verdict.artifact.lossy:
        return
    found: Graph = build_entry(replace(entry, build=entry.read), verdict.artifact.path)
    for name, other, own in zip(TOLD, _told(found), _told(graph), strict=True):
        verdict.agreement.count(name, int(other != own), 1)


def _told(graph: Graph) -> tuple[Any, ...]:
    """Return what no integer shows: facts, tensors, and what integers mean."""
    scales = [
        (node.name, np.asarray(node.shift).tolist(), getattr(node, "step", None))
        for node in graph.nodes
        if isinstance(node, Quantize | Logits)
    ]
    return dict(graph.facts), graph.tensors, scales


def _batch_size(graph: Graph) -> int:
    tensors = graph.tensors
    sizes = (
        int(np.prod(tensors[name].shape)) * np.dtype(tensors[name].dtype).itemsize
        for name in graph.observed
    )
    return max(1, min(MOST_IMAGES_OF_A_BATCH, BATCH_BYTES // sum(sizes)))
