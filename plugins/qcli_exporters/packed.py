"""The packed file, as an exporter. See docs/packed.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from qcli import ArtifactError, Deployment
from qcli.deployment.execution import run_graph
from qcli.deployment.graph import Graph
from qcli.deployment.packed import read_graph, write_graph


def write_packed(deployment: Deployment, path: Path) -> None:
    """Write the integer graph.

    Raises:
        OSError: The disk is full or not writable.
    """
    write_graph(deployment.integers, path)


def read_packed(path: Path) -> Graph:
    """Return the graph of a file; raises ArtifactError as `run_packed`."""
    return read_graph(path)


def run_packed(path: Path, images: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Read the graph again and compute its observed tensors in NumPy.

    Args:
        path: What `write_packed` wrote.
        images: uint8 [N, C, H, W].

    Raises:
        ArtifactError: The file is damaged, of another kind, newer than this qcli, or takes images
            of another shape.
    """
    graph = read_graph(path)
    if images.shape[1:] != graph.image.shape:
        raise ArtifactError(f"{path}: images {images.shape[1:]}; it reads {graph.image.shape}")
    return run_graph(graph, images)
