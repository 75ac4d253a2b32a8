"""Recipes for a run of another length, against schedules worked out by hand."""

import json

import pytest

from qcli.catalog.catalog import Catalog, Offer
from qcli.catalog.entries import QuantizerEntry
from qcli.catalog.load import load_catalog
from qcli.errors import RecipeError, UsageError
from qcli.recipe.checking import fill_defaults, load_schema
from qcli.recipe.scaling import Scaling
from qcli.recipe.schedule import Progress, Schedule
from qcli.recipe.setting import Request, resolve_setting

RECIPE = {
    "name": "t",
    "architecture": {"name": "lenet5"},
    "dataset": {"name": "digits"},
    "epochs": 200,
    "batch_size": 64,
    "seed": 3,
    "lr": {"kind": "milestones", "start": 0.1, "milestones_epochs": [82, 123]},
}
SEARCH = {"name": "q", "default": {"weight": {"quantizer": "categorical"}}}


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


def scale(factor, notes=None, **fields):
    value = fill_defaults(RECIPE | fields, load_schema("training"))
    scaling = Scaling(factor)
    scaled = scaling.training(value)
    if notes is not None:
        notes += scaling.notes
    return scaled


@pytest.mark.parametrize(
    ("factor", "epochs", "milestones"),
    [(0.1, 20, [8, 12]), (0.5, 100, [41, 62]), (3, 600, [246, 369]), (1, 200, [82, 123])],
)
def test_epochs_and_milestones_are_multiplied(factor, epochs, milestones):
    notes = []
    scaled = scale(factor, notes)
    assert scaled["epochs"] == epochs
    assert scaled["lr"]["milestones_epochs"] == milestones
    assert (scaled["seed"], scaled["batch_size"], scaled["lr"]["factor"]) == (3, 64, 0.1)
    assert isinstance(scaled["epochs"], int)
    assert notes == []


def test_milestones_stay_apart_and_from_1_on():
    notes = []
    milestones = {"kind": "milestones", "start": 1, "milestones_epochs": [2, 82, 84, 123]}
    scaled = scale(0.02, notes, lr=milestones)
    assert scaled["epochs"] == 4
    assert scaled["lr"]["milestones_epochs"] == [1, 2, 3, 4]
    assert notes == [
        "--epochs-scale 0.02: /lr/milestones_epochs: [2, 82, 84, 123] becomes [1, 2, 3, 4]: "
        "from 1 on, and no two alike",
        "--epochs-scale 0.02: /lr/milestones_epochs: 123 of 200 epochs becomes 4 of 4: this drop "
        "never comes",
    ]


@pytest.mark.parametrize(
    ("schedule", "field", "text"),
    [
        ({"kind": "step", "period_epochs": 150}, "period_epochs", "150"),
        ({"kind": "milestones", "milestones_epochs": [199, 300]}, "milestones_epochs", "199"),
    ],
    ids=["step", "milestones"],
)
def test_drops_that_reach_the_end_are_told(schedule, field, text):
    """At 0.004 and 0.01 of 200 epochs; what was beyond the run before is not told."""
    notes, factor = [], 0.004 if field == "period_epochs" else 0.01
    groups = {"quantizer": {"lr": schedule | {"start": 1}}}
    epochs = scale(factor, notes, lr=0.1, optimizer={"name": "sgd", "groups": groups})["epochs"]
    assert notes == [
        f"--epochs-scale {factor}: /optimizer/groups/quantizer/lr/{field}: {text} of 200 epochs "
        f"becomes {epochs} of {epochs}: this drop never comes"
    ]


def test_only_schedules_have_rates():
    """An option of a plugin may have a field of the same name."""
    options = {"noise": {"description": "n", "type": "object"}}
    entry = QuantizerEntry("own", "", "", "own:Own", options=options)
    slot = {"quantizer": "own", "noise": {"kind": "exponential", "factor": "auto"}}
    catalog = Catalog((Offer(entry, "here", ""),), ())
    for noise in (slot["noise"], {"kind": "slope"}):
        recipe = {"name": "q", "default": {"weight": slot | {"noise": noise}}}
        assert Scaling(0.5).quantization(recipe, catalog) == recipe


def test_a_run_has_an_epoch_at_least():
    notes = []
    assert scale(0.001, notes, lr=0.1)["epochs"] == 1
    assert notes == ["--epochs-scale 0.001: /epochs: 200 becomes 1, the shortest there is"]


@pytest.mark.parametrize("every", ["epoch", "step"])
@pytest.mark.parametrize(
    ("schedule", "rate", "scaled_rate"),
    [
        ({"kind": "exponential", "start": 1, "factor": 0.81, "end": 0.2}, "factor", 0.9),
        ({"kind": "slope", "start": 5, "slope": 5}, "slope", 2.5),
    ],
)
def test_rates_are_those_of_the_longer_run(schedule, rate, scaled_rate, every):
    scaled = scale(2, lr=schedule | {"every": every})["lr"]
    assert scaled[rate] == pytest.approx(scaled_rate)
    assert {**scaled, rate: 0} == {"end": None, "warm_up": None, **schedule, "every": every} | {
        rate: 0
    }


@pytest.mark.parametrize(
    "schedule",
    [
        {"kind": "cosine", "start": 1, "warm_up": {"epochs": 5}},
        {"kind": "polynomial", "start": 1, "power": 2},
        {"kind": "exponential", "start": 1, "factor": 0.9, "every": "step"},
        {"kind": "slope", "start": 1, "slope": -0.01, "end": 0.2, "every": "epoch"},
        {"kind": "step", "start": 1, "period_epochs": 30, "warm_up": {"epochs": 2.5}},
        {"kind": "milestones", "start": 1, "milestones_epochs": [30, 120]},
    ],
)
def test_half_the_run_sees_the_same_values_at_the_same_fraction(schedule):
    whole = Schedule.from_json(
        fill_defaults(RECIPE | {"lr": schedule}, load_schema("training"))["lr"]
    )
    half = Schedule.from_json(scale(0.5, lr=schedule)["lr"])
    for epoch in range(100):
        long = Progress(step=20 * epoch, total_steps=2000, epoch=2 * epoch, total_epochs=200)
        short = Progress(step=10 * epoch, total_steps=1000, epoch=epoch, total_epochs=100)
        assert half.at(short) == pytest.approx(whole.at(long), rel=1e-9)


def test_learning_rates_of_roles_are_scaled():
    own = {"kind": "step", "start": 1, "period_epochs": 30, "warm_up": {"epochs": 5}}
    scaled = scale(0.1, optimizer={"name": "sgd", "groups": {"quantizer": {"lr": own}}})
    lr = scaled["optimizer"]["groups"]["quantizer"]["lr"]
    assert (lr["period_epochs"], lr["warm_up"]["epochs"]) == (3, 0.5)


def test_schedules_of_quantizers_are_scaled_with_their_defaults(catalog, tmp_path):
    slot = {"quantizer": "quantization_networks"}
    rule = {"match": "fc1", "weight": {"quantizer": "categorical", "temperature": 1}}
    both = {"name": "q", "default": {"weight": slot}, "layers": [rule]}
    setting = resolve(tmp_path, catalog, both, epochs_scale=0.5)
    assert setting.quantization.default["weight"]["temperature"]["slope"] == 10
    assert setting.quantization.layers[0].slots["weight"]["temperature"] == 1
    setting = resolve(tmp_path, catalog, SEARCH, epochs_scale=2)
    factor = setting.quantization.default["weight"]["temperature"]["factor"]
    assert factor == pytest.approx(0.97**0.5)


def resolve(folder, catalog, quantization=None, training=RECIPE, **flags):
    for name, value in (("train", training), ("quant", quantization)):
        (folder / f"{name}.json").write_text(json.dumps(value), "utf-8")
    files = {"train_json": f"{folder}/train.json"}
    files |= {"quant_json": f"{folder}/quant.json"} if quantization else {}
    return resolve_setting(Request(**files, **flags), catalog)


def test_options_that_say_that_they_count_epochs_are_scaled(catalog):
    options = {
        "delay": {"description": "d", "type": "integer", "unit": "epochs", "default": 10},
        "ramp": {"description": "r", "type": "number", "unit": "epochs", "default": 3},
        "pauses": {
            "description": "p",
            "type": "array",
            "items": {"type": "integer", "unit": "epochs"},
            "default": [],
        },
        "off_epochs": {"description": "o", "type": "integer", "default": 10},
    }
    entry = QuantizerEntry("own", "", "", "own:Own", options=options)
    recipe = {"name": "q", "default": {"weight": {"quantizer": "own", "delay": 9, "ramp": 3}}}
    recipe["default"]["weight"] |= {"pauses": [5, 5], "off_epochs": 10}
    scaled = Scaling(0.3).quantization(recipe, Catalog((Offer(entry, "here", ""),), ()))
    assert scaled["default"]["weight"] == {
        "quantizer": "own",
        "delay": 3,
        "ramp": pytest.approx(0.9),
        "pauses": [2, 2],
        "off_epochs": 10,
    }


def test_the_effective_recipes_are_the_scaled_ones(catalog, tmp_path):
    setting = resolve(tmp_path, catalog, SEARCH, epochs_scale=0.5)
    again = resolve(
        tmp_path, catalog, setting.quantization.document, training=setting.training.document
    )
    assert again.training == setting.training
    assert again.quantization.document == setting.quantization.document
    assert setting.training.epochs == 100


def test_a_scale_of_one_changes_nothing(catalog, tmp_path):
    one = resolve(tmp_path, catalog, SEARCH, epochs_scale=1.0)
    none = resolve(tmp_path, catalog, SEARCH)
    assert one.training == none.training
    assert one.quantization.document == none.quantization.document


@pytest.mark.parametrize("factor", [0, -1, 1e-7, float("inf"), float("nan")])
def test_a_scale_out_of_range_is_an_error(factor):
    with pytest.raises(UsageError, match=r"allowed: a number from 1e-06 to 1e\+06$"):
        Scaling(factor)


def test_a_run_beyond_what_a_recipe_allows_is_an_error(catalog, tmp_path):
    with pytest.raises(RecipeError) as caught:
        resolve(tmp_path, catalog, epochs_scale=1e4)
    assert caught.value.faults == (
        "--epochs-scale 10000: /epochs: 2000000 is more than the maximum 100000",
    )


def test_the_smallest_rates_stay_within_a_recipe():
    schedule = {"kind": "exponential", "start": 1, "factor": 0.5}
    assert 0 < scale(1e-6, lr=schedule)["lr"]["factor"] < 1e-290
    assert scale(1e-6, lr=schedule | {"factor": 2})["lr"]["factor"] > 1e290


def test_epochs_and_their_scale_contradict(catalog, tmp_path):
    with pytest.raises(UsageError, match="give one of them"):
        resolve(tmp_path, catalog, epochs=3, epochs_scale=0.5)
