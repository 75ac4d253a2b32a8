"""What a command line asks for, resolved into a complete setting."""

import json

import pytest

from qcli.catalog.load import load_catalog
from qcli.errors import PluginError, RecipeError, UsageError
from qcli.recipe.schedule import Schedule
from qcli.recipe.setting import Request, read_quantization, resolve_setting

TRAINING = {
    "name": "t",
    "architecture": {"name": "lenet5"},
    "dataset": {"name": "synthetic", "noise": 0.5},
    "epochs": 5,
    "batch_size": 64,
    "lr": 0.1,
}
LSQ = {"quantizer": "lsq", "bits": 3, "signed": False}


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.fixture
def resolve(tmp_path, monkeypatch, catalog):
    """Return a function from recipes, as JSON, and flags to a setting."""
    monkeypatch.chdir(tmp_path)

    def make(training=None, quantization=None, **flags):
        for kind, value in (("train", training), ("quant", quantization)):
            if value is not None:
                (tmp_path / f"{kind}.json").write_text(json.dumps(value), "utf-8")
                flags[f"{kind}_json"] = f"{kind}.json"
        return resolve_setting(Request(**flags), catalog)

    return make


def faults_of(resolve, *recipes, **flags):
    with pytest.raises(RecipeError) as caught:
        resolve(*recipes, **flags)
    return list(caught.value.faults)


def quantization(**parts):
    return {"name": "q", "default": {"weight": LSQ, "input": LSQ}, **parts}


def test_defaults_are_filled_in(resolve):
    setting = resolve(TRAINING, quantization())
    recipe = setting.training
    assert (recipe.epochs, recipe.accumulate, recipe.precision) == (5, 1, "float32")
    assert recipe.lr == Schedule(start=0.1)
    assert (recipe.optimizer.name, recipe.optimizer.options["momentum"]) == ("sgd", 0.9)
    assert setting.dataset_options["noise"] == 0.5
    assert setting.dataset_options["num_classes"] == 10
    assert setting.architecture_options["batch_norm"] is True
    assert setting.quantization.default["weight"] == {
        **LSQ,
        "granularity": "tensor",
        "initial_step": None,
        "learned": True,
    }


def test_defaults_of_a_schedule_and_of_an_optimizer_are_those_of_its_kind(resolve):
    fields = {
        "lr": {"kind": "cosine", "start": 1, "warm_up": {"epochs": 2}},
        "optimizer": {"name": "adamw"},
    }
    recipe = resolve(TRAINING | fields).training
    assert recipe.lr == Schedule(
        kind="cosine", start=1, end=0, every="step", warm_up_epochs=2, warm_up_factor=0
    )
    assert recipe.optimizer.options == {"betas": [0.9, 0.999], "eps": 1e-8}
    exponential = {"lr": {"kind": "exponential", "start": 1, "factor": 0.5}}
    assert resolve(TRAINING | exponential).training.lr.every == "epoch"


def test_flags_replace_what_the_recipe_says(resolve):
    setting = resolve(
        TRAINING, architecture="resnet20", dataset="digits", epochs=2, seed=7, download=False
    )
    assert (setting.architecture_name, setting.dataset.name) == ("resnet20", "digits")
    assert (setting.training.epochs, setting.training.seed) == (2, 7)
    assert setting.dataset_options == {"split": "random"}


def test_a_flag_that_names_the_same_entry_keeps_its_options(resolve):
    assert resolve(TRAINING, dataset="synthetic").dataset_options["noise"] == 0.5
    assert resolve(TRAINING, dataset="digits").dataset_options == {"split": "random"}


@pytest.mark.parametrize(
    ("dataset", "shape"),
    [
        ({"name": "mnist"}, (1, 28, 28)),
        ({"name": "mnist", "image_size": 32}, (1, 32, 32)),
        ({"name": "mnist", "image_size": 32, "channels": 3}, (3, 32, 32)),
        ({"name": "digits", "channels": None}, (1, 28, 28)),
        ({"name": "digits", "image_size": 32}, (1, 32, 32)),
        ({"name": "imagenet", "image_size": 227}, (3, 227, 227)),
    ],
    ids=str,
)
def test_a_recipe_may_say_the_shape_of_the_images(resolve, dataset, shape):
    setting = resolve(TRAINING | {"dataset": dataset})
    assert setting.image_shape == shape
    assert not {"image_size", "channels"} & setting.dataset_options.keys()
    again = resolve(json.loads(json.dumps(setting.training.document)))
    assert again.image_shape == shape


def test_faults_of_the_shape_of_the_images(resolve):
    dataset = {"name": "mnist", "image_size": 0, "channels": "3", "size": 4}
    assert faults_of(resolve, TRAINING | {"dataset": dataset}) == [
        "train.json: /dataset/image_size: 0 is less than the minimum 1",
        'train.json: /dataset/channels: found "3", allowed: an integer from 1 to 64 or null; '
        "write 3 without quotes",
        "train.json: /dataset/size: unknown key; allowed: name, image_size, channels, download",
    ]


def test_download_is_an_option_of_data_sets_that_have_it(resolve):
    assert resolve(TRAINING, dataset="mnist", download=True).dataset_options == {"download": True}
    (fault,) = faults_of(resolve, TRAINING, download=True)
    assert fault.startswith("--download: /dataset/download: unknown key; allowed: name, ")


def test_a_plan_needs_a_network_alone(resolve):
    setting = resolve(architecture="resnet20")
    assert (setting.training, setting.quantization, setting.dataset) == (None, None, None)
    assert setting.image_shape == (3, 32, 32)
    assert resolve(architecture="lenet5", dataset="cifar10").image_shape == (3, 32, 32)
    with pytest.raises(UsageError, match="no network is named: give -a ARCHITECTURE"):
        resolve(quantization=quantization())


def test_a_family_takes_its_member(resolve):
    setting = resolve(architecture="torchvision:resnet18")
    assert setting.architecture.name == "torchvision:"
    assert setting.architecture_options == {"member": "resnet18"}
    trained = resolve(TRAINING, architecture="torchvision:resnet18")
    assert trained.training.document["architecture"] == {"name": "torchvision:resnet18"}


def test_options_that_the_method_requires_win(resolve):
    required = quantization(architecture_options={"batch_norm": False})
    assert resolve(TRAINING, required).architecture_options["batch_norm"] is False
    other = {"architecture": {"name": "lenet5", "batch_norm": True}}
    assert faults_of(resolve, TRAINING | other, required) == [
        "quant.json: /architecture_options/batch_norm: the method requires false, "
        "the training recipe says true; remove one of them"
    ]
    same = {"architecture": {"name": "lenet5", "batch_norm": False}}
    assert resolve(TRAINING | same, required).architecture_options["batch_norm"] is False
    assert faults_of(resolve, TRAINING, quantization(architecture_options={"stem": "cifar"})) == [
        "quant.json: /architecture_options/stem: unknown key; "
        "allowed: activation, block_order, batch_norm"
    ]


def test_a_network_without_options_cannot_have_what_a_method_requires(resolve):
    required = quantization(architecture_options={"activation": "hardtanh", "stem": "cifar"})
    name = "torchvision:resnet18"
    assert faults_of(resolve, TRAINING, required, architecture=name) == [
        f"quant.json: /architecture_options/{key}: the method requires it, but {name} has no "
        "options; choose another network: run `qcli list architectures`"
        for key in ("activation", "stem")
    ]


@pytest.mark.parametrize("end", ["first_layer", "last_layer"])
def test_ends_are_float_unless_something_is_said(resolve, end):
    recipe = resolve(TRAINING, quantization()).quantization
    assert getattr(recipe, end) == {"weight": None, "input": None}
    assert recipe.reasons[end] == f"{end}: float by default"
    said = resolve(TRAINING, quantization(**{end: {}})).quantization
    assert getattr(said, end) == {}
    assert end not in said.reasons


@pytest.mark.parametrize(
    ("end", "choice", "slots"),
    [
        ("first_layer", "float", {"weight": None, "input": None}),
        ("last_layer", "float", {"weight": None, "input": None}),
        # Images have negative values.
        ("first_layer", "default", {"input": LSQ | {"signed": True}}),
        ("last_layer", "default", {}),
    ],
)
def test_ends_by_flag(resolve, end, choice, slots):
    own = {end: {"weight": {"quantizer": "lsq", "bits": 8}}}
    recipe = resolve(TRAINING, quantization(**own), **{end: choice}).quantization
    found = getattr(recipe, end)
    assert found.keys() == slots.keys()
    for slot, value in slots.items():
        assert value is found[slot] is None or value.items() <= found[slot].items()
    assert recipe.reasons[end] == f"--{end.replace('_', '-')} {choice}"
    assert recipe.document[end] == found


def test_bits_take_the_default_quantizer_where_it_has_them(resolve):
    recipe = resolve(TRAINING, quantization(), first_layer="8", last_layer="5").quantization
    assert recipe.first_layer["weight"]["quantizer"] == "lsq"
    assert recipe.first_layer["weight"]["bits"] == recipe.first_layer["input"]["bits"] == 8
    # Images have negative values; what the last layer receives keeps the default's sign.
    assert recipe.first_layer["weight"]["signed"] is recipe.last_layer["input"]["signed"] is False
    assert recipe.first_layer["input"]["signed"] is True
    assert recipe.last_layer["weight"]["bits"] == recipe.last_layer["input"]["bits"] == 5


def test_bits_mean_uniform_where_the_default_quantizer_has_none(resolve):
    search = {"name": "q", "default": {"weight": {"quantizer": "categorical"}}}
    recipe = resolve(TRAINING, search, first_layer="8").quantization
    weight = recipe.first_layer["weight"]
    assert (weight["quantizer"], weight["bits"], weight["granularity"]) == ("uniform", 8, "channel")
    assert "input" not in recipe.first_layer
    mixed = {"name": "q", "default": {"weight": {"quantizer": "categorical"}, "input": LSQ}}
    assert resolve(TRAINING, mixed, last_layer="4").quantization.last_layer["input"]["bits"] == 4


def test_flags_of_ends_are_checked(resolve):
    faults = faults_of(resolve, TRAINING, quantization(), first_layer="33")
    assert faults == [
        "--first-layer 33: /first_layer/weight/bits: 33 is more than the maximum 8",
        "--first-layer 33: /first_layer/input/bits: 33 is more than the maximum 8",
    ]
    with pytest.raises(UsageError, match="need a quantization recipe: --quant-json"):
        resolve(TRAINING, first_layer="8")


def test_faults_of_both_recipes_are_told_together(resolve):
    faults = faults_of(
        resolve,
        TRAINING | {"epochs": 0, "dataset": {"name": "cifar11"}},
        quantization(default={"weight": {"quantizer": "lsq", "bits": 33}}),
    )
    assert faults == [
        "train.json: /epochs: 0 is less than the minimum 1",
        "quant.json: /default/weight/bits: 33 is more than the maximum 8",
        'train.json: /dataset/name: unknown dataset "cifar11" (did you mean "cifar10"?); '
        "run `qcli list datasets`",
    ]


def test_unreadable_recipes_are_told_together(resolve):
    assert faults_of(resolve, train_json="a.json", quant_json="b.json") == [
        "a.json: cannot be read: No such file or directory",
        "b.json: cannot be read: No such file or directory",
    ]


def test_only_missing_names_are_a_plugin_error(resolve):
    with pytest.raises(PluginError, match='unknown quantizer "lqs"') as caught:
        resolve(TRAINING, quantization(default={"weight": {"quantizer": "lqs"}}))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("flags", [{}, {"first_layer": "8", "last_layer": "default"}])
def test_the_effective_recipes_give_the_same_setting(resolve, flags):
    fields = {"lr": {"kind": "milestones", "start": 1, "milestones_epochs": [2]}, "augment": []}
    recipe = quantization(layers=[{"match": "conv2", "weight": None}])
    first = resolve(TRAINING | fields, recipe, overrides=["accumulate=2"], **flags)
    again = resolve(
        json.loads(json.dumps(first.training.document)),
        json.loads(json.dumps(first.quantization.document)),
    )
    assert again.training == first.training
    assert again.quantization.document == first.quantization.document
    assert again.quantization.layers == first.quantization.layers
    assert again.architecture_options == first.architecture_options
    assert again.dataset_options == first.dataset_options


def test_a_bare_list_is_categorical_search(resolve):
    recipe = resolve(TRAINING, [-1, 0, 1]).quantization
    slot = recipe.default["weight"]
    assert (recipe.name, slot["quantizer"], slot["value_space"]) == (
        "quant",
        "categorical",
        [-1, 0, 1],
    )
    assert slot["temperature"]["factor"] == 0.97


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("lr=0.5", lambda setting: setting.training.lr.start == 0.5),
        ("dataset.noise=0", lambda setting: setting.dataset_options["noise"] == 0),
        ("optimizer.momentum=0.5", lambda setting: setting.training.optimizer.name == "sgd"),
        ("optimizer.name=adam", lambda setting: setting.training.optimizer.name == "adam"),
        ("augment=[]", lambda setting: setting.training.augment == ()),
        ("training.name=other", lambda setting: setting.training.name == "other"),
        ("quantization.name=other", lambda setting: setting.quantization.name == "other"),
        (
            "default.weight.bits=5",
            lambda setting: setting.quantization.default["weight"]["bits"] == 5,
        ),
        ("default.input=null", lambda setting: setting.quantization.default["input"] is None),
        ("first_layer={}", lambda setting: setting.quantization.first_layer == {}),
        ("training.note=a=b", lambda setting: setting.training.document["note"] == "a=b"),
    ],
)
def test_set(resolve, override, read):
    recipe = TRAINING | {"optimizer": {"name": "sgd"}}
    if override.startswith("optimizer.name"):
        recipe = recipe | {"optimizer": {}}
    assert read(resolve(recipe, quantization(), overrides=[override]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr", "--set lr: write KEY=VALUE, as in --set lr=0.01"),
        ("=1", "--set =1: write KEY=VALUE, as in --set lr=0.01"),
        ("name=x", "--set name=x: both recipes have it; write training.name or quantization.name"),
        ("epoch=1", '--set epoch=1: no recipe has the key "epoch" (did you mean "epochs"?)'),
        ("training.extends=x", "--set training.extends=x: write a recipe that extends another"),
        ("epochs=NaN", '--set epochs: /epochs: found "NaN", allowed: an integer from 1 to 100000'),
        ("epochs=", '--set epochs: /epochs: found "", allowed: an integer from 1 to 100000'),
        ("optimizer.lr=1", "--set optimizer.lr: /optimizer/lr: unknown key"),
        ("lr.start=1", '--set lr.start: "start" lies below 0.1, which has no parts'),
        ("layers.0.match=x", '--set layers.0.match: /layers: found {"0": {"match": "x"}}'),
        ("default.weight.bits=9", "--set default.weight.bits: /default/weight/bits: 9 is more"),
    ],
)
def test_set_faults(resolve, override, message):
    with pytest.raises(UsageError) as caught:
        resolve(TRAINING | {"optimizer": {"name": "sgd"}}, quantization(), overrides=[override])
    assert str(caught.value).startswith(message)


def test_set_needs_the_recipe_that_has_the_key(resolve):
    with pytest.raises(UsageError, match="belongs to a quantization recipe, and none is given"):
        resolve(TRAINING, overrides=["default.weight=null"])


@pytest.mark.parametrize(
    "fields",
    [
        {"select_on": "validation", "validation_fraction": 0.1},
        {"select_on": "test", "validation_fraction": 0},
        {"accumulate": 64},
        {"optimizer": {"name": "sgd", "momentum": 0.5, "nesterov": True}},
        {"optimizer": {"name": "adam"}},
        {"normalize": {"mean": [0.5], "std": [1]}},
        {"architecture": None},
    ],
)
def test_relations_that_hold(resolve, fields):
    assert resolve(TRAINING | fields, architecture="lenet5").training is not None


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"select_on": "validation"}, "/select_on"),
        ({"validation_fraction": 0.1}, "/validation_fraction"),
        ({"accumulate": 3}, "/accumulate"),
        ({"accumulate": 128}, "/accumulate"),
        ({"optimizer": {"name": "sgd", "momentum": 0, "nesterov": True}}, "/optimizer/nesterov"),
        ({"normalize": {"mean": [0.5], "std": [1, 1]}}, "/normalize"),
    ],
)
def test_relations_that_do_not_hold(resolve, fields, place):
    (fault,) = faults_of(resolve, TRAINING | fields)
    assert fault.startswith(f"train.json: {place}: ")


def test_a_program_may_write_the_recipe_itself(catalog):
    recipe = read_quantization(quantization(), catalog)
    assert recipe.default["weight"]["bits"] == 3
    assert read_quantization(recipe, catalog) is recipe
    assert read_quantization(None, catalog) is None
    assert read_quantization("lsq-w4a4", catalog).name == "lsq-w4a4"
    with pytest.raises(RecipeError) as caught:
        read_quantization(
            quantization(default={"weight": {"quantizer": "lsq", "bits": 0}}), catalog
        )
    assert caught.value.faults == ("recipe: /default/weight/bits: 0 is less than the minimum 1",)
