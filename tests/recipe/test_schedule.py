"""Every kind of schedule against numbers worked by hand, for a run of 4 epochs of 5 steps."""

import pytest

from qcli.recipe.checking import fill_defaults, find_faults, load_schema
from qcli.recipe.document import Document
from qcli.recipe.schedule import Progress, Schedule


def at(value, step, *, epochs=4, steps_per_epoch=5):
    progress = Progress(step, epochs * steps_per_epoch, step // steps_per_epoch, epochs)
    return make(value).at(progress)


def make(value):
    """Build a schedule as a run does: checked, defaults filled in."""
    recipe = {"name": "x", "dataset": {"name": "x"}, "epochs": 1, "batch_size": 1, "lr": value}
    assert find_faults(Document("x", recipe), load_schema("training")) == []
    return Schedule.from_json(fill_defaults(recipe, load_schema("training"))["lr"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # At steps 0, 4, 5, 10 and 19 of 20.
        pytest.param(0.1, [0.1] * 5, id="number"),
        pytest.param({"kind": "constant", "start": 3}, [3] * 5, id="constant"),
        pytest.param({"kind": "linear", "start": 2}, [2, 1.6, 1.5, 1, 0.1], id="linear"),
        pytest.param(
            {"kind": "linear", "start": 2, "end": 4, "every": "epoch"},
            [2, 2, 2.5, 3, 3.5],
            id="linear up, by epochs",
        ),
        pytest.param(
            {"kind": "slope", "start": 5, "slope": 5}, [5, 5, 10, 15, 20], id="slope, by epochs"
        ),
        pytest.param(
            {"kind": "slope", "start": 5, "slope": 5, "end": 12},
            [5, 5, 10, 12, 12],
            id="slope with a cap",
        ),
        pytest.param(
            {"kind": "slope", "start": 1, "slope": -0.25, "end": 0, "every": "step"},
            [1, 0, 0, 0, 0],
            id="falling slope, by steps",
        ),
        pytest.param(
            {"kind": "cosine", "start": 0.1},
            [0.1, 0.09045084971874737, 0.08535533905932738, 0.05, 0.0006155829702431115],
            id="cosine",
        ),
        pytest.param(
            {"kind": "cosine", "start": 3, "end": 1, "every": "epoch"},
            [3, 3, 2.7071067811865475, 2, 1.2928932188134525],
            id="cosine to 1, by epochs",
        ),
        pytest.param(
            {"kind": "polynomial", "start": 1, "power": 2},
            [1, 0.64, 0.5625, 0.25, 0.0025],
            id="polynomial",
        ),
        pytest.param(
            {"kind": "polynomial", "start": 5, "end": 1, "power": 2, "every": "epoch"},
            [5, 5, 3.25, 2, 1.25],
            id="polynomial to 1, by epochs",
        ),
        pytest.param({"kind": "polynomial", "start": 1}, [1, 0.8, 0.75, 0.5, 0.05], id="power 1"),
        pytest.param(
            {"kind": "exponential", "start": 1, "factor": 0.5},
            [1, 1, 0.5, 0.25, 0.125],
            id="exponential",
        ),
        pytest.param(
            {"kind": "exponential", "start": 1, "factor": 0.5, "end": 0.3},
            [1, 1, 0.5, 0.3, 0.3],
            id="exponential with a floor",
        ),
        pytest.param(
            {"kind": "exponential", "start": 1, "factor": 2, "end": 5},
            [1, 1, 2, 4, 5],
            id="exponential with a cap",
        ),
        pytest.param(
            {"kind": "exponential", "start": 1, "factor": 2, "every": "step"},
            [1, 16, 32, 1024, 524288],
            id="exponential by steps",
        ),
        pytest.param(
            {"kind": "step", "start": 1, "factor": 0.5, "period_epochs": 2},
            [1, 1, 1, 0.5, 0.5],
            id="step",
        ),
        pytest.param(
            {"kind": "milestones", "start": 1, "milestones_epochs": [1, 3]},
            [1, 1, 0.1, 0.1, 0.01],
            id="milestones, factor 0.1 by default",
        ),
        pytest.param(
            {"kind": "milestones", "start": 1, "factor": 2, "milestones_epochs": [3, 1]},
            [1, 1, 2, 2, 4],
            id="milestones in any order",
        ),
    ],
)
def test_value(value, expected):
    assert [at(value, step) for step in (0, 4, 5, 10, 19)] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("warm_up", "expected"),
    [
        # At steps 0, 4, 5, 9, 10 and 19 of 20, on a constant 2.
        pytest.param({"epochs": 2}, [0, 0.8, 1, 1.8, 2, 2], id="linear from 0"),
        pytest.param({"epochs": 2, "factor": 0.5}, [1, 1.4, 1.5, 1.9, 2, 2], id="from a half"),
        pytest.param(
            {"epochs": 1, "factor": 0.1, "shape": "constant"}, [0.2, 0.2, 2, 2, 2, 2], id="constant"
        ),
        pytest.param({"epochs": 0.4}, [0, 2, 2, 2, 2, 2], id="part of an epoch"),
        pytest.param(None, [2] * 6, id="none"),
    ],
)
def test_warm_up(warm_up, expected):
    value = {"kind": "constant", "start": 2, "warm_up": warm_up}
    assert [at(value, step) for step in (0, 4, 5, 9, 10, 19)] == pytest.approx(expected)


def test_warm_up_multiplies_what_goes_on_beneath():
    value = {"kind": "linear", "start": 2, "warm_up": {"epochs": 2}}
    assert at(value, 5) == pytest.approx(1.5 * 0.5)


@pytest.mark.parametrize("kind", ["cosine", "linear", "polynomial"])
def test_cutting_epochs_moves_the_end(kind):
    value = {"kind": kind, "start": 1}
    assert at(value, 5, epochs=2) == pytest.approx(at(value, 10, epochs=4)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "milestones", "start": 1, "milestones_epochs": [1]},
        {"kind": "step", "start": 1, "period_epochs": 1},
        {"kind": "exponential", "start": 1, "factor": 0.1},
    ],
)
def test_cutting_epochs_leaves_drops_where_they_are(value):
    assert at(value, 5, epochs=2) == at(value, 5, epochs=4) == pytest.approx(0.1)


def test_growth_without_a_cap_is_infinite_rather_than_an_error():
    for value in (
        {"kind": "exponential", "start": 1, "factor": 10, "every": "step"},
        {"kind": "step", "start": 1, "factor": 10, "period_epochs": 1},
    ):
        assert at(value, 4000, epochs=1000) == float("inf")


def test_the_last_steps_of_search_are_cold():
    value = {"kind": "exponential", "start": 1, "factor": 0.97, "end": 1e-5, "every": "epoch"}
    assert at(value, 199 * 5, epochs=200) == pytest.approx(0.97**199)
    assert at(value, 399 * 5, epochs=400) == 1e-5


def test_progress_counts_parts_of_epochs():
    progress = Progress(step=3, total_steps=8, epoch=0, total_epochs=2)
    assert (progress.fraction, progress.epochs_done) == (0.375, 0.75)


def test_every_kind_of_the_schema_is_tried_here():
    (mark,) = test_value.pytestmark
    tried = {case.values[0]["kind"] for case in mark.args[1] if isinstance(case.values[0], dict)}
    kinds = load_schema("training")["$defs"]["schedule"]["properties"]["kind"]["enum"]
    assert tried == set(kinds)
