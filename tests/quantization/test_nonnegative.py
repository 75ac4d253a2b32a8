"""Where a network cannot hold negative values, and what quantizers are told of it."""

import pytest
import torch
from torch import nn

import qcli
from qcli.quantization.survey import survey_model


class Branches(nn.Module):
    """A residual sum of two rectified paths, and one of a rectified and a plain path."""

    def __init__(self, rectified: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(2, 2, 3, padding=1)
        self.relu2 = nn.ReLU() if rectified else nn.PReLU()
        self.conv3 = nn.Conv2d(2, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu1(self.conv1(x))
        return self.conv3(y + self.relu2(self.conv2(y)))


@pytest.mark.parametrize("rectified", [True, False])
def test_sums(rectified: bool) -> None:
    found = survey_model(Branches(rectified), (1, 6, 6)).nonnegative
    expected = {"conv2", "conv3"} if rectified else {"conv2"}
    assert {name for name in found["input"] if name.startswith("conv")} == expected
    assert {name for name in found["output"] if name.startswith("relu")} == (
        {"relu1", "relu2"} if rectified else {"relu1"}
    )


@pytest.mark.parametrize(
    ("between", "nonnegative"),
    [
        ((nn.ReLU(),), True),
        ((nn.ReLU6(), nn.MaxPool2d(2)), True),
        ((nn.ReLU(), nn.AvgPool2d(2), nn.Dropout()), True),
        ((nn.Hardtanh(0, 1),), True),
        ((nn.Hardtanh(),), False),
        ((nn.ReLU(), nn.BatchNorm2d(2)), False),
        ((nn.MaxPool2d(2),), False),
        ((nn.PReLU(),), False),
    ],
    ids=str,
)
def test_what_a_layer_receives(between: tuple[nn.Module, ...], nonnegative: bool) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), *between, nn.Conv2d(2, 2, 1))
    last = str(len(model) - 1)
    assert (last in survey_model(model, (1, 8, 8)).nonnegative["input"]) == nonnegative


class Shifted(nn.Module):
    """Moves what a ReLU returns, and takes one from another."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(1, 1, 1)
        self.conv2 = nn.Conv2d(1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(x)
        return self.conv1(y + -0.5) + self.conv2(torch.add(y, y, alpha=-1))


def test_a_shifted_relu_can_be_negative() -> None:
    assert survey_model(Shifted(), (1, 4, 4)).nonnegative["input"] == set()


class Untraceable(nn.Module):
    """Asks its data."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.relu(x) if float(x.sum()) >= 0 else x)


def test_nothing_is_known_of_a_network_that_cannot_be_traced() -> None:
    assert survey_model(Untraceable(), (1, 4, 4)).nonnegative["input"] == set()


def test_quantizers_are_told() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1))
    slot = {"quantizer": "lsq"}
    both = {"weight": slot, "input": slot}
    recipe = {"name": "x", "default": both, "first_layer": both, "last_layer": both}
    plan = qcli.make_plan(model, recipe, (1, 6, 6))
    told = {(layer, slot): each.info.nonnegative for layer, slot, each in plan.slots()}
    assert {key for key, value in told.items() if value} == {("2", "input")}


@pytest.mark.parametrize(
    ("between", "before_norm"),
    [
        ((nn.BatchNorm2d(2),), True),
        ((nn.MaxPool2d(2), nn.BatchNorm2d(2)), True),
        ((nn.PReLU(), nn.BatchNorm2d(2)), True),
        ((nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(2)), True),
        # It does not keep the scale of what it receives.
        ((nn.Hardtanh(), nn.BatchNorm2d(2)), False),
        ((nn.ReLU(),), False),
    ],
    ids=str,
)
def test_a_norm_behind_frees_the_scale_of_a_weight(
    between: tuple[nn.Module, ...], before_norm: bool
) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), *between, nn.Conv2d(2, 2, 1))
    recipe = {"name": "x", "default": {}, "first_layer": {"weight": {"quantizer": "lsq"}}}
    plan = qcli.make_plan(model, recipe, (1, 8, 8))
    (told,) = [each.info for _, _, each in plan.slots()]
    assert told.before_norm == before_norm
