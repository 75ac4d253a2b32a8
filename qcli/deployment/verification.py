"""Prove on real images that every form of a network computes the reference's integers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qcli.catalog.building import build_entry
from qcli.catalog.entries import ExporterEntry
from qcli.deployment.comparison import Agreement, Results, find_layers
from qcli.deployment.execution import run_graph
from qcli.deployment.fake_quant import FloatAgreement
from qcli.deployment.graph import Graph
from qcli.deployment.preparation import Prepared, read_splits
from qcli.errors import MissingTool
from qcli.training.batches import Process
from qcli.training.data import make_batches, make_normalizer

# What the observed tensors of one batch may take.
BATCH_BYTES = 1 << 28
MOST_IMAGES_OF_A_BATCH = 1000
# Above it a fake-quantized network is not what its integers are.
LOCAL_MISMATCH = 1e-4


@dataclass(frozen=True)
class Artifact:
    """A form to be verified.

    Args:
        entry: Who wrote it, and runs it.
        path: The file or folder.
        label: For people: the format and its options.
    """

    entry: ExporterEntry
    path: Path
    label: str


@dataclass(frozen=True)
class Verdict:
    """What came out for one form.

    Args:
        artifact: The form.
        agreement: With the reference; None: it did not run.
        skipped: Why it did not run.
    """

    artifact: Artifact
    agreement: Agreement | None
    skipped: str = ""


@dataclass(frozen=True)
class Verification:
    """A run's proof.

    Args:
        images: How many were run.
        reference: The reference against itself: its accuracy.
        floating: The float32 network.
        verdicts: Of every form.
    """

    images: int
    reference: Agreement
    floating: FloatAgreement
    verdicts: tuple[Verdict, ...]

    @property
    def holds(self) -> bool:
        """Whether every form that ran is exact, and the float32 network is what was lowered."""
        ran = [each.agreement for each in self.verdicts if each.agreement]
        local = max(self.floating.rates.values(), default=0.0)
        return all(each.is_exact for each in ran) and local < LOCAL_MISMATCH


def verify(
    prepared: Prepared,
    reference: Graph,
    artifacts: Sequence[Artifact],
    *,
    data_dir: Path | None,
    most_images: int | None,
) -> Verification:
    """Run the reference and every form on test images.

    Args:
        prepared: The run.
        reference: The exact graph.
        artifacts: The forms.
        data_dir: Where data sets lie; None: where they lay.
        most_images: How many test images; None: all.
    """
    own, floating = Agreement(), FloatAgreement()
    verdicts = [Verdict(artifact, Agreement()) for artifact in artifacts]
    for images, network_images, labels in _batches(prepared, reference, data_dir, most_images):
        expected = run_graph(reference, images)
        own.add(expected, expected, labels)
        floating.add_network(prepared.deployment.model, reference, network_images, expected, labels)
        verdicts = [_judge(verdict, images, expected, labels) for verdict in verdicts]
    return Verification(own.images, own, floating, tuple(verdicts))


def _judge(
    verdict: Verdict, images: NDArray[Any], expected: Results, labels: NDArray[Any]
) -> Verdict:
    """Run one form on a batch, unless it could not run before."""
    if verdict.agreement is None:
        return verdict
    try:
        verdict.agreement.add(_run(verdict.artifact, images), expected, labels)
    except MissingTool as error:
        return Verdict(verdict.artifact, None, str(error))
    return verdict


def _run(artifact: Artifact, images: NDArray[Any]) -> Results:
    assert artifact.entry.execute is not None
    executor = replace(artifact.entry, build=artifact.entry.execute)
    results: Results = build_entry(executor, artifact.path, images)
    return results


def _batches(
    prepared: Prepared, graph: Graph, data_dir: Path | None, most_images: int | None
) -> Iterator[tuple[NDArray[np.uint8], Tensor, NDArray[np.int64]]]:
    """Yield pixels uint8 [N, C, H, W], what the float32 network takes, and labels."""
    setting = prepared.revival.setting
    recipe, shape = setting.training, setting.image_shape
    assert recipe is not None
    splits = read_splits(prepared.revival, data_dir)
    process = Process(0, 1, torch.device("cpu"))
    normalize = make_normalizer(splits, recipe, shape[0], process)
    whole = make_batches(splits.test, recipe, shape, lambda pixels: pixels, process)
    left = whole.num_images if most_images is None else min(most_images, whole.num_images)
    step = _batch_size(graph)
    for batch in whole:
        pixels, labels = batch.images[:left], batch.labels[:left].numpy()
        left -= len(labels)
        for start in range(0, len(labels), step):
            part = pixels[start : start + step]
            images = np.ascontiguousarray(part.permute(0, 3, 1, 2).numpy())
            yield images, normalize(part), labels[start : start + step]
        if not left:
            return


def _batch_size(graph: Graph) -> int:
    tensors = graph.tensors
    count = sum(int(np.prod(tensors[name].shape)) for name in graph.observed)
    return max(1, min(MOST_IMAGES_OF_A_BATCH, BATCH_BYTES // count))


def to_json(verification: Verification, graph: Graph, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the certificate.

    Args:
        verification: What came out.
        graph: The reference.
        facts: What it is about: run, weights, hashes.
    """
    images = max(1, verification.images)
    floating = verification.floating
    return {
        "schema_version": 1,
        "holds": verification.holds,
        **facts,
        "images": verification.images,
        "reference": {"top1": verification.reference.right / images},
        "float": {
            "top1": floating.right / images,
            "argmax_agreement": floating.argmax / images,
            "local_mismatch": floating.rates,
        },
        "forms": [_verdict_json(verdict, graph) for verdict in verification.verdicts],
    }


def _verdict_json(verdict: Verdict, graph: Graph) -> dict[str, Any]:
    artifact, agreement = verdict.artifact, verdict.agreement
    row: dict[str, Any] = {"form": artifact.label, "sha256": hash_path(artifact.path)}
    if agreement is None:
        return {**row, "status": "skipped", "reason": verdict.skipped}
    first = agreement.first_divergence
    row |= {
        "status": "exact" if agreement.is_exact else "differs",
        "top1": agreement.right / agreement.images,
        "argmax_agreement": agreement.argmax / agreement.images,
        "compared": agreement.compared,
        "different": agreement.wrong,
    }
    if first:
        row["first_divergence"] = {"tensor": first, "layers": find_layers(graph, first)}
    return row


def hash_path(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    for file in files:
        if file != path:
            digest.update(str(file.relative_to(path)).encode() + b"\0")
        digest.update(file.read_bytes())
    return digest.hexdigest()
