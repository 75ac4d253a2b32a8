"""What `qcli eval` prints of a confusion matrix."""

from pathlib import Path

import pytest
import torch

from qcli.reporting.evaluation import evaluation_to_json, print_evaluation
from qcli.training.evaluation import Metrics
from qcli.training.reevaluation import Reevaluation

MATRIX = torch.tensor([[2, 0, 0], [1, 1, 1], [0, 0, 1]])


def found(confusion, names):
    right, count = int(confusion.diag().sum()), int(confusion.sum())
    return Reevaluation(Metrics(0.5, right / count, 1.0, count, confusion), names)


def printed(capsys, *arguments, by_class):
    print_evaluation(found(*arguments), Path("run"), "best", by_class=by_class)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_the_means_are_always_told(capsys):
    first, means = printed(capsys, MATRIX, ("cat", "dog", "[owl]"), by_class=False)
    assert first == ("run, best weights, 6 test images: top-1 66.67 %, top-5 100.00 %, loss 0.5000")
    assert means == (
        "means over 3 classes: sensitivity 77.78 %, specificity 85.00 %, precision 72.22 %, "
        "accuracy 77.78 %, F1 65.56 %, informedness 62.78 %"
    )


def test_each_class_and_what_it_is_taken_for(capsys):
    lines = printed(capsys, MATRIX, ("cat", "dog", "[owl]"), by_class=True)
    assert "1 dog 3 33.33 % 100.00 % 100.00 % 66.67 % 50.00 % 33.33 %" in lines
    assert lines[-3:] == ["0 cat 2 . .", "1 dog 1 1 1", "2 [owl] . . 1"]


def test_many_classes_stay_readable(capsys):
    """2000 classes, 5 images each; of class 7 three are taken for 1500, of class 9 one for 8."""
    matrix = 5 * torch.eye(2000, dtype=torch.int64)
    for true, named, count in ((7, 1500, 3), (9, 8, 1)):
        matrix[true, true] -= count
        matrix[true, named] += count
    lines = printed(capsys, matrix, tuple(f"c{n}" for n in range(2000)), by_class=True)
    assert len(lines) < 35
    place = lines.index("the 20 of 2,000 classes with the lowest F1:")
    assert [line.split()[1] for line in lines[place + 2 : place + 6]] == ["c7", "c1500", "c9", "c8"]
    assert lines[-4:] == [
        "the 2 most confused of 2 pairs of classes:",
        "images of all show were taken for",
        "3 60.00 % c7 c1500",
        "1 20.00 % c9 c8",
    ]


def test_json_has_all_where_asked():
    told = [
        evaluation_to_json(found(MATRIX, ("a", "b", "c")), Path("run"), "last", by_class=by_class)
        for by_class in (False, True)
    ]
    assert told[1].pop("confusion") == [[2, 0, 0], [1, 1, 1], [0, 0, 1]]
    classes = told[1].pop("classes")
    assert told[0] == told[1]
    assert told[0]["accuracy_of_classes"] == pytest.approx((5 / 6 + 4 / 6 + 5 / 6) / 3)
    assert told[0]["informedness"] == pytest.approx((3 / 4 + 1 / 3 + 4 / 5) / 3)
    assert (classes[1]["name"], classes[1]["images"]) == ("b", 3)
    assert classes[1]["recall"] == pytest.approx(1 / 3)
