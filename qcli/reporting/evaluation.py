"""What `qcli eval` tells: accuracy, scores of classes, and which classes are confused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcli.reporting.console import percent, print_data
from qcli.reporting.tables import print_table

if TYPE_CHECKING:
    from qcli.training.class_scores import ClassScores
    from qcli.training.reevaluation import Reevaluation

# By the names of `ClassScores`, in the order and with the words of people.
WORDS = {
    "recall": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "accuracy": "accuracy",
    "f1": "F1",
    "informedness": "informedness",
}
# A wider matrix does not fit a terminal.
MOST_COLUMNS = 12
MOST_ROWS = 20


def evaluation_to_json(
    found: Reevaluation, run: Path, weights: str, *, by_class: bool
) -> dict[str, Any]:
    """Return what was measured as a JSON object; scores are 0..1 (informedness -1..1).

    Args:
        found: What was measured.
        run: The run directory.
        weights: "best" or "last".
        by_class: Whether to tell the scores of each class, and the confusion matrix.
    """
    from qcli.training.class_scores import SCORES, score_classes

    metrics = found.metrics
    assert metrics.confusion is not None
    scores = score_classes(metrics.confusion)
    means = dict(scores.means)
    told: dict[str, Any] = {
        "schema_version": 1,
        "run": str(run),
        "weights": weights,
        "top1": metrics.top1,
        "top5": metrics.top5,
        "loss": metrics.loss,
        # Each class against all others: not the share of right images, which is top1.
        "accuracy_of_classes": means.pop("accuracy"),
        **means,
        "images": metrics.count,
    }
    if by_class:
        told["classes"] = [
            {
                "name": name,
                "images": scores.support[label],
                **{score: getattr(scores, score)[label] for score in SCORES},
            }
            for label, name in enumerate(found.class_names)
        ]
        told["confusion"] = metrics.confusion.tolist()
    return told


def print_evaluation(found: Reevaluation, run: Path, weights: str, *, by_class: bool) -> None:
    """Print what was measured to stdout; arguments as for `evaluation_to_json`."""
    from qcli.training.class_scores import score_classes

    metrics = found.metrics
    assert metrics.confusion is not None
    scores = score_classes(metrics.confusion)
    print_data(
        f"{run}, {weights} weights, {metrics.count} test images: "
        f"top-1 {percent(metrics.top1)}, top-5 {percent(metrics.top5)}, loss {metrics.loss:.4f}"
    )
    means = ", ".join(f"{word} {percent(scores.means[name])}" for name, word in WORDS.items())
    print_data(f"means over {sum(scores.counted)} classes: {means}")
    if by_class:
        print_data("")
        _print_scores(scores, found.class_names)
        print_data("")
        _print_confusion(metrics.confusion.tolist(), found.class_names)


def _print_scores(scores: ClassScores, names: Sequence[str]) -> None:
    labels: Sequence[int] = range(len(names))
    if len(names) > MOST_ROWS:
        known = [label for label in labels if scores.counted[label]]
        labels = sorted(known, key=lambda label: scores.f1[label])[:MOST_ROWS]
        print_data(f"the {len(labels)} of {len(names):,} classes with the lowest F1:")
    print_table(
        ("label", "class", "images", *WORDS.values()),
        [
            (
                str(label),
                names[label],
                f"{scores.support[label]:,}",
                *(percent(getattr(scores, name)[label]) for name in WORDS),
            )
            for label in labels
        ],
    )


def _print_confusion(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> None:
    if len(names) <= MOST_COLUMNS:
        print_data("rows: what images show; columns: the label that they were given")
        print_table(
            ("label", "class", *map(str, range(len(names)))),
            [
                (str(label), names[label], *(f"{count:,}" if count else "." for count in row))
                for label, row in enumerate(confusion)
            ],
        )
        return
    pairs = sorted(_confused(confusion), key=lambda pair: (-pair[0], *pair[1:]))
    print_data(
        f"the {min(len(pairs), MOST_ROWS)} most confused of {len(pairs):,} pairs of classes:"
    )
    print_table(
        ("images", "of all", "show", "were taken for"),
        [
            (f"{count:,}", percent(count / sum(confusion[true])), names[true], names[named])
            for count, true, named in pairs[:MOST_ROWS]
        ],
    )


def _confused(confusion: Sequence[Sequence[int]]) -> Iterator[tuple[int, int, int]]:
    """Yield (images, true class, likeliest class) of each pair that was mistaken."""
    for true, row in enumerate(confusion):
        for named, count in enumerate(row):
            if count and named != true:
                yield count, true, named
