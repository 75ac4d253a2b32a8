"""Where each value of a recipe came from, as `qcli recipe show` tells it."""

import json

import pytest
from click.testing import CliRunner

import qcli
from qcli.cli import cli
from qcli.recipe.document import Document
from qcli.recipe.library import KINDS, shipped_recipes
from qcli.recipe.provenance import complete_recipe, list_sources
from qcli.recipe.setting import Request, resolve_setting, settle_recipes

CATALOG = qcli.load_catalog()
PARENT = {
    "name": "parent",
    "architecture": {"name": "resnet20"},
    "dataset": {"name": "cifar10"},
    "epochs": 10,
    "batch_size": 32,
    "lr": {"kind": "cosine", "start": 0.1},
    "optimizer": {"name": "sgd", "momentum": 0.8},
}
CHILD = {
    "$schema": ".qcli/training.schema.json",
    "name": "child",
    "extends": "./parent.json",
    "epochs": 20,
    "optimizer": {"momentum": 0.5},
}
SLOTS = {
    "name": "slots",
    "default": {"weight": {"quantizer": "lsq", "bits": 2}, "input": {"quantizer": "lsq"}},
    "architecture_options": {"activation": "hardtanh"},
    "layers": [{"match": "layer1.*", "weight": {"quantizer": "uniform"}}],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for value in (PARENT, CHILD, SLOTS):
        (tmp_path / f"{value['name']}.json").write_text(json.dumps(value))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def show(*arguments):
    done = CliRunner().invoke(cli, ["recipe", "show", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def sources(*arguments):
    return json.loads(show(*arguments, "--sources", "--json"))["sources"]


def test_what_is_inherited_changed_and_default(folder):
    found = sources("./child.json", "--resolved", "--set", "lr.end=0.01", "-d", "cifar100")
    assert found["/epochs"] == found["/name"] == found["/optimizer/momentum"] == "child.json"
    assert found["/batch_size"] == found["/lr/start"] == found["/optimizer/name"] == "parent.json"
    assert found["/lr/end"] == "--set lr.end"
    assert found["/dataset/name"] == "-d cifar100"
    assert found["/dataset/labels"] == "default of cifar100"
    assert found["/architecture/name"] == "parent.json"
    assert found["/architecture/block_order"] == "default of resnet20"
    assert found["/optimizer/nesterov"] == found["/seed"] == found["/dataset/channels"] == "default"
    assert "/extends" not in found
    assert "/$schema" not in found


def test_slots_know_whose_default_they_have(folder):
    found = sources("slots.json", "--resolved", "--first-layer", "8")
    assert found["/default/weight/bits"] == "slots.json"
    assert found["/default/weight/signed"] == found["/default/input/bits"] == "default of lsq"
    assert found["/layers/0/weight/quantizer"] == "slots.json"
    assert found["/layers/0/weight/observer"] == "default of uniform"
    assert found["/first_layer/weight/bits"] == "--first-layer 8"
    assert found["/last_layer/weight"] == "default"
    assert found["/architecture_options/activation"] == "slots.json"


def test_without_defaults_only_what_is_said_is_told(folder):
    assert set(sources("child.json")) == {
        "/$schema",
        "/name",
        "/architecture/name",
        "/dataset/name",
        "/epochs",
        "/batch_size",
        "/lr/kind",
        "/lr/start",
        "/optimizer/name",
        "/optimizer/momentum",
    }


def test_as_given(folder):
    assert json.loads(show("child.json")) == CHILD
    (folder / "values.json").write_text("[-1, 0.5]")
    assert json.loads(show("values.json")) == [-1, 0.5]
    resolved = json.loads(show("values.json", "--resolved"))
    assert resolved["default"]["weight"]["value_space"] == [-1, 0.5]
    assert json.loads(show("search-2b", "--json"))["kind"] == "quantization"


def test_a_table_is_shown(folder):
    lines = [" ".join(line.split()) for line in show("child.json", "--sources").splitlines()]
    assert lines[0] == "value at comes from is"
    assert "/epochs child.json 20" in lines
    assert "/batch_size parent.json 32" in lines


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["slots.json", "--set", "lr=1", "--resolved"], "belongs to a training recipe"),
        (["slots.json", "--first-layer", "8"], "add --resolved or --sources"),
        (["slots.json", "-a", "resnet20", "--resolved"], "-a and -d change training recipes"),
        (["nothing.json"], "nothing.json: cannot be read"),
        (["no-such-name"], 'unknown recipe "no-such-name"'),
    ],
)
def test_what_is_refused(folder, arguments, text):
    done = CliRunner().invoke(cli, ["recipe", "show", *arguments])
    assert text in str(done.exception)


def test_what_is_shown_is_what_a_run_has(folder):
    request = Request(train_json="child.json", quant_json="slots.json", first_layer="4")
    setting = resolve_setting(request, CATALOG)
    alone = complete_recipe(
        settle_recipes(Request(quant_json="slots.json", first_layer="4"), CATALOG), CATALOG
    )
    assert setting.quantization.document == alone.value
    trained = complete_recipe(settle_recipes(Request(train_json="child.json"), CATALOG), CATALOG)
    # The method requires this of the network: the recipe alone cannot know.
    assert trained.value["architecture"].pop("activation") == "relu"
    required = setting.training.document["architecture"].pop("activation")
    assert required == "hardtanh"
    assert setting.training.document == trained.value


def test_an_editors_schema_is_no_part_of_a_recipe(folder):
    without = {key: part for key, part in CHILD.items() if key != "$schema"}
    (folder / "without.json").write_text(json.dumps(without))
    one, other = (
        resolve_setting(Request(train_json=name), CATALOG).training
        for name in ("child.json", "without.json")
    )
    assert one == other
    (folder / "wrong.json").write_text(json.dumps({**CHILD, "$schema": 3}))
    done = CliRunner().invoke(cli, ["check", "wrong.json"])
    assert "/$schema: found 3, allowed: a string" in str(done.exception)


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_of_every_shipped_recipe_has_a_source(kind):
    for name, path in shipped_recipes(kind).items():
        key = "train_json" if kind == "training" else "quant_json"
        document = complete_recipe(settle_recipes(Request(**{key: name}), CATALOG), CATALOG)
        given = json.loads(path.read_text())
        for pointer, value, origin in list_sources(document):
            said = part_of(given, pointer)
            if "extends" not in given and said is not MISSING:
                assert (said, origin.endswith(f"/{name}.json")) == (value, True), (name, pointer)
            if said is MISSING:
                assert not origin.endswith(f"/{name}.json"), (name, pointer)


MISSING = object()


def part_of(value, pointer):
    for key in pointer:
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return value


def test_leaves_are_values_without_parts():
    value = {"a": {}, "b": [], "c": [1, 2], "d": [{"e": 1}, 2], "f": {"g": {"h": None}}}
    found = {pointer: part for pointer, part, _ in list_sources(Document("file", value))}
    assert found == {
        ("a",): {},
        ("b",): [],
        ("c",): [1, 2],
        ("d", "0", "e"): 1,
        ("d", "1"): 2,
        ("f", "g", "h"): None,
    }
