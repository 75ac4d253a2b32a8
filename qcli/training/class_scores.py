"""Scores of classes, each against all others, from a confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

# What `select_by` may name.
CLASS_SCORES = ("precision", "recall", "f1")
# All scores that have a mean over classes.
SCORES = (*CLASS_SCORES, "specificity", "informedness", "accuracy")


@dataclass(frozen=True)
class ClassScores:
    """What each class scored, 0..1 (informedness -1..1), in the order of the labels.

    With the true and false positives and negatives of one class against all others,

        precision = TP / (TP + FP)           recall, or sensitivity = TP / (TP + FN)
        f1 = 2 TP / (2 TP + FP + FN)         specificity = TN / (TN + FP)
        accuracy = (TP + TN) / all images    informedness = recall + specificity - 1

    0 where nothing is divided by nothing.

    Args:
        precision: Of the images that were taken for the class, the share that is of it.
        recall: Of the images of the class, the share that was taken for it.
        f1: The harmonic mean of both.
        specificity: Of the images of other classes, the share that was not taken for it.
        informedness: Youden's J: 0 for one who guesses.
        accuracy: The share of all images that were rightly taken, or not taken, for the class.
        support: Images of the class.
        counted: Whether the class was present or named; the means leave out the others.
        means: By name, the plain mean over the classes counted (macro average); 0 where there is
            none.
    """

    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    specificity: tuple[float, ...]
    informedness: tuple[float, ...]
    accuracy: tuple[float, ...]
    support: tuple[int, ...]
    counted: tuple[bool, ...]
    means: Mapping[str, float]


def score_classes(confusion: Tensor) -> ClassScores:
    """Score every class.

    Args:
        confusion: int64 [C, C]: images, rows by their true class, columns by the class that they
            were taken for.
    """
    counts = confusion.to("cpu", torch.float64)
    right, named, present, total = counts.diag(), counts.sum(0), counts.sum(1), counts.sum()
    others = total - present
    # What was neither of the class nor taken for it.
    rejected = others - (named - right)
    counted = named + present > 0
    scores = {
        "precision": _divide(right, named),
        "recall": _divide(right, present),
        "f1": _divide(2 * right, named + present),
        "specificity": _divide(rejected, others),
        "accuracy": _divide(right + rejected, total),
    }
    scores["informedness"] = scores["recall"] + scores["specificity"] - 1
    means = {name: float(scores[name][counted].mean().nan_to_num(0.0)) for name in SCORES}
    return ClassScores(
        **{name: tuple(part.tolist()) for name, part in scores.items()},
        support=tuple(confusion.sum(1).tolist()),
        counted=tuple(counted.tolist()),
        means=means,
    )


def selectable_scores(confusion: Tensor | None) -> dict[str, float]:
    """Return the means that `select_by` may name; none where classes were not counted."""
    if confusion is None:
        return {}
    means = score_classes(confusion).means
    return {name: means[name] for name in CLASS_SCORES}


def _divide(part: Tensor, whole: Tensor) -> Tensor:
    return (part / whole).nan_to_num(0.0)
