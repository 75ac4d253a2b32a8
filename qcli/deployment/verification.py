"""Prove on real images that every form of a network computes the reference's integers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qcli.catalog.building import build_entry
from qcli.catalog.entries import ExporterEntry
from qcli.deployment.comparison import Agreement, Results
from qcli.deployment.execution import run_graph
from qcli.deployment.fake_quant import FloatAgreement
from qcli.deployment.graph import Graph, Logits, Quantize
from qcli.deployment.preparation import Prepared, read_splits
from qcli.errors import ArtifactError, MissingTool, PluginError
from qcli.training.batches import Process
from qcli.training.data import make_batches, make_normalizer

# What the observed tensors of one batch may take.
BATCH_BYTES = 1 << 28
MOST_IMAGES_OF_A_BATCH = 1000


@dataclass(frozen=True)
class Artifact:
    """A form to be verified.

    Args:
        entry: Who wrote it, and runs it.
        path: The file or folder.
        label: For people: the format and its options, or the path.
        lossy: Whether its scaling is coarser than the reference's: it is measured, not judged.
    """

    entry: ExporterEntry
    path: Path
    label: str
    lossy: bool = False


@dataclass(frozen=True)
class Verdict:
    """What came out for one form.

    Args:
        artifact: The form.
        agreement: With the reference.
        skipped: Why it did not run; "": it did.
        damaged: Why it cannot be read; "": it can.
    """

    artifact: Artifact
    agreement: Agreement
    skipped: str = ""
    damaged: str = ""

    @property
    def status(self) -> str:
        """One word: exact, differs, skipped or damaged."""
        if self.skipped or self.damaged:
            return "skipped" if self.skipped else "damaged"
        return "exact" if self.agreement.is_exact else "differs"


@dataclass(frozen=True)
class Verification:
    """A run's proof.

    Args:
        graph: The reference.
        reference: Its accuracy: it is compared with itself.
        floating: The float32 network.
        verdicts: Of every form.
        available: How many test images there are.
        pixels_sha256: Of those that were run, in order.
    """

    graph: Graph
    reference: Agreement
    floating: FloatAgreement
    verdicts: tuple[Verdict, ...]
    available: int
    pixels_sha256: str

    def with_skipped(self, verdicts: Sequence[Verdict]) -> Verification:
        """Return it with forms that could not even be written."""
        return replace(self, verdicts=(*self.verdicts, *verdicts))

    @property
    def faults(self) -> list[str]:
        """What keeps the proof from holding, one line each."""
        found = [f"{each.artifact.label} {each.status}" for each in self._judged if _fails(each)]
        if not any(each.status == "exact" for each in self._judged) and not found:
            found.append("no exact form was run: nothing is proved")
        return found + self.floating.faults

    @property
    def failed(self) -> bool:
        """Whether something differs, is damaged, or nothing at all was run."""
        ran = any(each.status != "skipped" for each in self.verdicts)
        wrong = any(_fails(each) for each in self._judged)
        return not ran or wrong or bool(self.floating.faults)

    @property
    def _judged(self) -> list[Verdict]:
        return [each for each in self.verdicts if not each.artifact.lossy]


def _fails(verdict: Verdict) -> bool:
    return verdict.status in ("differs", "damaged")


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
    assert entry.execute is not None
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


TOLD = ("facts", "shapes and ranges", "scales")


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


class RunImages:
    """The test set of a run, as pixels and as its network takes them.

    Args:
        prepared: The run.
        data_dir: Where data sets lie; None: where they lay.
        most: How many images; None: all.
    """

    def __init__(self, prepared: Prepared, data_dir: Path | None, most: int | None) -> None:
        setting = prepared.revival.setting
        assert setting.training is not None
        splits, shape = read_splits(prepared.revival, data_dir), setting.image_shape
        process = Process(0, 1, torch.device("cpu"))
        self.normalize = make_normalizer(splits, setting.training, shape[0], process)
        self.whole = make_batches(splits.test, setting.training, shape, lambda x: x, process)
        self.available = self.whole.num_images
        self.count = self.available if most is None else min(most, self.available)

    def batches(self, size: int) -> Iterator[tuple[NDArray[np.uint8], Tensor, NDArray[np.int64]]]:
        """Yield pixels uint8 [N, C, H, W], what the float32 network takes, and labels."""
        left = self.count
        for batch in self.whole:
            pixels, labels = batch.images[:left], batch.labels[:left].numpy()
            left -= len(labels)
            for start in range(0, len(labels), size):
                part = pixels[start : start + size]
                images = np.ascontiguousarray(part.permute(0, 3, 1, 2).numpy())
                yield images, self.normalize(part), labels[start : start + size]
            if not left:
                return
