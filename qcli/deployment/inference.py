"""Classify images with a graph, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcli.deployment.execution import run_graph
from qcli.deployment.graph import Graph

# Bounds the memory that unfolded windows take.
IMAGES_AT_ONCE = 16


@dataclass(frozen=True)
class Guess:
    """A class and its score.

    Args:
        index: Of the class, from 0.
        name: Of the class, where the artifact knows it.
        score: The logit, as a real number; equal integers make equal scores.
    """

    index: int
    name: str | None
    score: float


def classify(graph: Graph, images: NDArray[Any], top: int) -> list[list[Guess]]:
    """Return the likeliest classes of each image, the likeliest first.

    Args:
        graph: The network.
        images: uint8 [N, C, H, W].
        top: How many; of equal scores the class with the smaller index goes first.
    """
    names = graph.facts.get("classes") or []
    guesses = []
    for start in range(0, len(images), IMAGES_AT_ONCE):
        outputs = run_graph(graph, images[start : start + IMAGES_AT_ONCE])
        for logits in outputs[graph.logits.name].astype(np.int64):
            best = np.argsort(-logits, kind="stable")[:top].tolist()
            guesses.append([_guess(graph, names, logits, index) for index in best])
    return guesses


def _guess(graph: Graph, names: list[str], logits: NDArray[np.int64], index: int) -> Guess:
    name = names[index] if index < len(names) else None
    return Guess(index, name, float(np.ldexp(float(logits[index]), -graph.logits.shift)))
