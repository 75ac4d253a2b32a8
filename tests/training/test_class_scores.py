"""Scores of classes by hand, in the words of seed 004, and against scikit-learn."""

import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    recall_score,
)

from qcli.training.class_scores import SCORES, score_classes

# Images of each digit in MNIST's test set.
MNIST = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)


def test_scores_by_hand():
    """Class 0: TP 2, FP 1, FN 0, TN 3; class 1: 1, 0, 2, 3; class 2: 1, 1, 0, 4."""
    scores = score_classes(torch.tensor([[2, 0, 0], [1, 1, 1], [0, 0, 1]]))
    assert scores.precision == pytest.approx((2 / 3, 1, 1 / 2))
    assert scores.recall == pytest.approx((1, 1 / 3, 1))
    assert scores.f1 == pytest.approx((4 / 5, 2 / 4, 2 / 3))
    assert scores.specificity == pytest.approx((3 / 4, 1, 4 / 5))
    assert scores.accuracy == pytest.approx((5 / 6, 4 / 6, 5 / 6))
    assert scores.informedness == pytest.approx((3 / 4, 1 / 3, 4 / 5))
    assert scores.support == (2, 3, 1)
    assert scores.means["precision"] == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert scores.means["informedness"] == pytest.approx((3 / 4 + 1 / 3 + 4 / 5) / 3)


def test_what_is_neither_named_nor_present_is_left_out_of_the_means():
    """Class 1 is named but not present, class 3 neither."""
    scores = score_classes(torch.tensor([[1, 1, 0, 0], [0] * 4, [0, 0, 2, 0], [0] * 4]))
    assert scores.counted == (True, True, True, False)
    assert scores.recall == (0.5, 0.0, 1.0, 0.0)
    assert scores.means["recall"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert scores.means["specificity"] == pytest.approx((1 + 3 / 4 + 1) / 3)


def test_nothing_divided_by_nothing_is_0():
    assert dict(score_classes(torch.zeros(3, 3, dtype=torch.int64)).means) == dict.fromkeys(
        SCORES, 0.0
    )
    alone = score_classes(torch.tensor([[4, 0], [0, 0]]))
    assert (alone.recall[0], alone.specificity[0], alone.informedness[0]) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(("wrong", "accuracy"), [(105, 0.9979), (82, 0.99836)])
def test_the_published_lines_of_seed_004(wrong, accuracy):
    """Recognition rates of 98.95 % and 99.18 %: "Accuracy: 99.79%" and "99.836%" stand below."""
    confusion = torch.diag(torch.tensor(MNIST))
    for number in range(wrong):
        true, named = number % 10, (number * 3 + 1) % 10
        named = (named + 1) % 10 if named == true else named
        confusion[true, true] -= 1
        confusion[true, named] += 1
    assert confusion.diag().sum() / 10_000 == pytest.approx(1 - wrong / 10_000)
    means = score_classes(confusion).means
    assert means["accuracy"] == pytest.approx(accuracy, abs=1e-12)
    # "Sensitivity: 98.94% / Specificity: 99.88%" and "Informedness: 98.82%" are so related.
    assert means["informedness"] == pytest.approx(means["recall"] + means["specificity"] - 1)


@pytest.mark.parametrize("num_classes", [2, 5, 40])
def test_scores_are_those_of_scikit_learn(num_classes):
    generator = torch.Generator().manual_seed(num_classes)
    named, labels = torch.randint(num_classes, (2, 50), generator=generator).tolist()
    known = range(num_classes)
    confusion = torch.from_numpy(confusion_matrix(labels, named, labels=known))
    scores = score_classes(confusion)
    wanted = precision_recall_fscore_support(labels, named, average="macro", zero_division=0)
    assert [scores.means[name] for name in ("precision", "recall", "f1")] == pytest.approx(
        wanted[:3]
    )
    for each in known:
        is_true, is_named = ([label == each for label in part] for part in (labels, named))
        specificity = recall_score(is_true, is_named, pos_label=False, zero_division=0)
        assert scores.specificity[each] == pytest.approx(specificity)
        assert scores.accuracy[each] == pytest.approx(accuracy_score(is_true, is_named))
