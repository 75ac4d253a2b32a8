"""The losses of recipes against numbers worked by hand."""

import pytest
import torch

from qcli.training.loss import evaluation_loss, squared_hinge, training_loss

SCORES = torch.tensor([[2.0, 0.5, -1.5], [0.0, -1.0, 0.25]])
LABELS = torch.tensor([0, 2])
# Right class: (1 - 2)+ = 0, (1 - 0.25)^2; others: (1 + 0.5)^2, (1 - 1.5)+ = 0, (1 + 0)^2, 0.
BY_HAND = (0 + 2.25 + 0 + 1 + 0 + 0.5625) / 6


def test_squared_hinge_by_hand():
    assert float(squared_hinge(SCORES, LABELS)) == pytest.approx(BY_HAND)


def test_squared_hinge_gradient_by_hand():
    """-2 t (1 - t score)+ / (B * classes)."""
    scores = SCORES.clone().requires_grad_()
    squared_hinge(scores, LABELS).backward()
    expected = torch.tensor([[0.0, 3.0, 0.0], [2.0, 0.0, -1.5]]) / 6
    torch.testing.assert_close(scores.grad, expected)


def test_recipe_chooses(make_recipe):
    recipe = make_recipe(loss="squared_hinge")
    assert float(training_loss(recipe)(SCORES, LABELS)) == pytest.approx(BY_HAND)
    assert float(evaluation_loss(recipe)(SCORES, LABELS)) == pytest.approx(BY_HAND)


def test_evaluation_knows_no_smoothing(make_recipe):
    recipe = make_recipe(label_smoothing=0.5)
    plain = torch.nn.functional.cross_entropy(SCORES, LABELS)
    assert float(evaluation_loss(recipe)(SCORES, LABELS)) == pytest.approx(float(plain))
    assert float(training_loss(recipe)(SCORES, LABELS)) != pytest.approx(float(plain))
