"""The scores of each class, and the pairs of classes that are mistaken for each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qcli.reporting.evaluation import WORDS
from qcli.reporting.report.confusion import draw_confusion
from qcli.reporting.report.picture import Picture
from qcli.reporting.report.table import Table, write_count, write_number, write_percent

if TYPE_CHECKING:
    from qcli.training.class_scores import ClassScores
    from qcli.training.evaluation import Metrics
    from qcli.training.inspection import Inspection

MOST_CLASSES = 100
MOST_PAIRS = 15


@dataclass(frozen=True)
class ClassPart:
    """What a network takes for what.

    Args:
        summary: Accuracy and loss, in one sentence.
        scores: A row for each class, and one of their means.
        few: How the classes of the table were chosen; "": all are there.
        pairs: The classes that are mistaken most; None where none is.
        picture: The confusion matrix.
    """

    summary: str
    scores: Table
    few: str
    pairs: Table | None
    picture: Picture


def tell_classes(inspection: Inspection) -> ClassPart | None:
    """Return what is told of classes; None where no test image was measured."""
    from qcli.training.class_scores import score_classes

    metrics = inspection.metrics
    if metrics is None or metrics.confusion is None:
        return None
    names, counts = inspection.class_names, metrics.confusion.tolist()
    scores = score_classes(metrics.confusion)
    labels: Sequence[int] = range(len(names))
    few = ""
    if len(names) > MOST_CLASSES:
        labels = sorted(labels, key=lambda label: scores.f1[label])[:MOST_CLASSES]
        few = f"The {MOST_CLASSES} of {len(names):,} classes with the lowest F1."
    return ClassPart(
        _summarize(metrics, inspection.available),
        _tabulate(scores, names, labels),
        few,
        _list_pairs(counts, names),
        draw_confusion(counts, names),
    )


def _summarize(metrics: Metrics, available: int) -> str:
    return (
        f"Top-1 {write_percent(metrics.top1)}, top-5 {write_percent(metrics.top5)}, loss "
        f"{write_number(metrics.loss)} on {metrics.count:,} of {available:,} test images."
    )


def _tabulate(scores: ClassScores, names: Sequence[str], labels: Sequence[int]) -> Table:
    means = [write_percent(scores.means[name]) for name in WORDS]
    rows = [
        [
            names[label],
            write_count(scores.support[label]),
            *(write_percent(getattr(scores, name)[label]) for name in WORDS),
        ]
        for label in labels
    ]
    total = write_count(sum(scores.support))
    return Table(
        ("class", "images", *WORDS.values()),
        [[f"mean of {sum(scores.counted):,} classes", total, *means], *rows],
    )


def _list_pairs(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Table | None:
    pairs = [
        (cell, true, taken)
        for true, row in enumerate(counts)
        for taken, cell in enumerate(row)
        if cell and taken != true
    ]
    pairs.sort(key=lambda pair: -pair[0])
    rows = [
        [
            names[true],
            names[taken],
            write_count(cell),
            write_percent(cell / sum(counts[true])),
        ]
        for cell, true, taken in pairs[:MOST_PAIRS]
    ]
    return Table(("shows", "taken for", "images", "of the class"), rows, 2) if rows else None
