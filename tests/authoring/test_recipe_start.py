"""`qcli recipe new`: starts that are valid, complete and named in editors' terms."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

import qcli
from qcli.authoring.editor_schema import compose_schema
from qcli.authoring.recipe_start import _write_new, start_from, start_quantization, start_training
from qcli.cli import cli
from qcli.recipe.checks import check_recipe
from qcli.recipe.document import Document
from qcli.recipe.library import KINDS, kinds_of, shipped_recipes
from qcli.recipe.setting import Request, resolve_setting

CATALOG = qcli.load_catalog()
ARCHITECTURES = [name for name in CATALOG.of_kind("architectures") if not name.endswith(":")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new(*arguments):
    return CliRunner().invoke(cli, ["recipe", "new", *arguments])


def written(folder, *arguments):
    done = new(*arguments)
    assert done.exit_code == 0, done.exception
    path = folder / done.stdout.strip()
    return json.loads(path.read_text("utf-8"))


def check(recipe, kind):
    assert not check_recipe(Document("start", recipe), kind, CATALOG).faults
    schema = compose_schema(kind, CATALOG)
    assert list(Draft202012Validator(schema).iter_errors(recipe)) == []


@pytest.mark.parametrize("name", CATALOG.of_kind("quantizers"))
def test_every_quantizer_has_a_start(name):
    recipe = start_quantization(name, CATALOG)
    check(recipe, "quantization")
    options = CATALOG.quantizer(name).options
    for slot in recipe["default"].values():
        assert set(slot) == {"quantizer", *options}


def test_every_network_and_data_set_has_a_start():
    schema = Draft202012Validator(compose_schema("training", CATALOG))
    pairs = [(network, "digits") for network in ARCHITECTURES]
    pairs += [("resnet20", name) for name in CATALOG.of_kind("datasets")]
    for network, name in pairs:
        recipe = start_training(network, name, CATALOG)
        assert not check_recipe(Document("start", recipe), "training", CATALOG).faults
        assert list(schema.iter_errors(recipe)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_shipped_recipe_can_be_copied(kind):
    for name in shipped_recipes(kind):
        recipe = start_from(name, kind)
        assert not check_recipe(Document("start", recipe), kind, CATALOG).faults
        assert recipe["name"] == f"my-{name}"[:100]
        assert not {"extends", "reported"} & recipe.keys()


def test_what_is_written_names_its_schema(folder):
    recipe = written(folder, "quantization", "lsq", "-o", "sub/mine.json")
    assert (recipe["name"], recipe["$schema"]) == ("mine", ".qcli/quantization.schema.json")
    schema = json.loads((folder / "sub" / recipe["$schema"]).read_text("utf-8"))
    assert schema == compose_schema("quantization", CATALOG)
    assert list(Draft202012Validator(schema).iter_errors(recipe)) == []
    wrong = {**recipe, "default": {"weight": {"quantizer": "lsq", "bits": 99}}}
    assert list(Draft202012Validator(schema).iter_errors(wrong)) != []
    checked = CliRunner().invoke(cli, ["check", "sub/mine.json"])
    assert checked.stdout == "sub/mine.json: a valid quantization recipe\n"


def test_names_that_people_type(folder):
    assert written(folder, "training", "lenet5", "digits")["name"] == "lenet5-digits"
    copy = written(folder, "--from", "search-2b")
    assert copy["name"] == "my-search-2b"
    assert written(folder, "quantization", "--from", "search-2b", "-o", "b.json") == {
        **copy,
        "name": "b",
    }
    family = written(folder, "training", "torchvision:resnet18", "digits")
    assert family["architecture"]["name"] == "torchvision:resnet18"
    assert kinds_of("my-search-2b") == []


def test_shipped_recipes_for_the_same_are_told(folder):
    done = new("training", "resnet20", "cifar10", "--no-schema")
    assert "resnet20-cifar10-200ep" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["resnet20-cifar10.json"]
    assert "$schema" not in json.loads((folder / "resnet20-cifar10.json").read_text())


def test_starts_of_both_kinds_go_together(folder):
    new("training", "lenet5", "digits", "-o", "t.json")
    new("quantization", "lsq", "-o", "q.json")
    setting = resolve_setting(Request(train_json="t.json", quant_json="q.json"), CATALOG)
    assert (setting.architecture_name, setting.quantization.name) == ("lenet5", "q")


def test_nothing_is_overwritten(folder):
    for place in ("there.json", "link.json"):
        path = folder / place
        path.symlink_to("nowhere") if place == "link.json" else path.write_text("mine")
        done = new("quantization", "lsq", "-o", place)
        assert f"{place} exists" in str(done.exception)
    assert (folder / "there.json").read_text() == "mine"
    (folder / ".qcli").mkdir()
    (folder / ".qcli/quantization.schema.json").write_text('{"title": "another"}')
    done = new("quantization", "lsq")
    assert "is no schema of quantization recipes" in str(done.exception)
    assert not (folder / "lsq.json").exists()


def test_an_old_schema_is_written_anew(folder):
    new("quantization", "lsq")
    place = folder / ".qcli/quantization.schema.json"
    fresh = place.read_text()
    old = {"title": json.loads(fresh)["title"]}
    place.write_text(json.dumps(old))
    new("quantization", "dorefa")
    assert place.read_text() == fresh
    assert [path.name for path in place.parent.iterdir()] == [place.name]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "qcli recipe new quantization lsq"),
        (["lsq"], "recipe new lsq: write"),
        (["training", "resnet20"], "recipe new training resnet20: write"),
        (["quantization", "lqs"], 'did you mean "lsq"?'),
        (["training", "resnet20", "cifar"], 'unknown dataset "cifar"'),
        (["--from", "search-2b", "lsq"], "--from search-2b copies a quantization recipe"),
        (["--from", "no-such"], 'unknown recipe "no-such"'),
        (["quantization", "lsq", "-o", "mine.txt"], "ends with .json"),
    ],
)
def test_what_is_refused(folder, arguments, text):
    done = new(*arguments)
    assert done.exit_code != 0
    assert text in str(done.exception)
    assert list(folder.iterdir()) == []


def test_a_full_disk_leaves_no_half_recipe(folder):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")

    def open_full(path, *arguments, **options):
        open(path, *arguments, **options).close()
        return open("/dev/full", "w", encoding="utf-8")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        with pytest.raises(OSError, match="No space left"):
            _write_new(folder / "mine.json", "{}")
    assert list(folder.iterdir()) == []
