"""`qcli train --smoke`: whether a recipe works, without its data."""

import tempfile

import pytest
from click.testing import CliRunner

from qcli.catalog.load import load_catalog
from qcli.cli import cli
from qcli.cli.smoke import make_small
from qcli.errors import TargetError, UsageError
from qcli.recipe.checks import check_recipe
from qcli.recipe.document import Document
from qcli.recipe.library import shipped_recipes
from qcli.recipe.setting import Request, resolve_setting


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files, in which nothing may be left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.chdir(tmp_path)
    yield folder
    assert list(folder.glob("qcli-*")) == []


def smoke(*arguments):
    return CliRunner().invoke(cli, ["train", "--smoke", "--cpu", *map(str, arguments)])


@pytest.mark.parametrize("name", shipped_recipes("training"))
def test_every_recipe_becomes_a_small_one(name, catalog):
    setting = resolve_setting(Request(train_json=name), catalog)
    small = make_small(setting, catalog, teacher=None)
    assert small.image_shape == setting.image_shape
    wanted = setting.dataset.num_classes or setting.architecture.default_num_classes
    assert small.dataset_options["num_classes"] == wanted
    assert small.training.epochs == 1
    assert small.training.optimizer == setting.training.optimizer
    # The run directory holds it, and it is read back.
    found = check_recipe(Document(name, dict(small.training.document)), "training", catalog)
    assert found.faults == []


def test_a_network_that_is_not_ready_for_integers(tmp_path):
    done = smoke(
        "-p", "DATA", "--epochs", 7, "--tensorboard", "--patience", 3, "--threads", "auto", "-v"
    )
    assert done.exit_code == 0, done.output
    assert "layer conv1: its weight is float; give it a weight quantizer" in done.stdout
    assert "export weights: " in done.stdout
    assert done.stdout.endswith("it works; nothing is left behind\n")
    assert "-p has no effect with --smoke" in done.stderr
    assert "--epochs has no effect with --smoke" in done.stderr
    assert "--tensorboard has no effect with --smoke" in done.stderr
    assert "--patience has no effect with --smoke" in done.stderr
    assert "--threads auto has no effect with --smoke" in done.stderr
    assert "4 layers have quantized weights" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"temporary"}


def test_a_form_that_differs_is_no_success(tmp_path, monkeypatch):
    monkeypatch.setattr("qcli.cli.smoke._deploy", lambda *_: ["packed differs"])
    done = smoke("-o", "kept")
    assert isinstance(done.exception, TargetError)
    assert done.stdout.endswith("it does not work; the run is kept: kept\n")
    assert (tmp_path / "kept" / "result.json").exists()


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--dry-run"], "leave one out"),
        (["--resume", "run"], "leave out --smoke"),
        (["-o", "temporary", "--set", "lr=1e30"], "exists"),
    ],
)
def test_refusals(words, fault, temporary):
    (temporary / "something").touch()
    done = smoke(*words)
    (temporary / "something").unlink()
    assert isinstance(done.exception, UsageError)
    assert fault in str(done.exception)


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "one process" in str(smoke().exception)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            *["--train-json resnet20-cifar10-200ep -a resnet20 --quant-json lsq-w4a4-integer"],
            ["verify packed: equal", "export qonnx: "],
        ),
        (
            "--train-json lenet5-digits-20ep --quant-json lq_nets-w2a2 --set normalize=lq_nets",
            ["the image: its normalization, lq_nets, has a mean for each pixel"],
        ),
        (
            "--train-json lenet5-digits-20ep --set validation_fraction=0.1 "
            "--set select_on=validation --set compile=true "
            '--set distill={"weight":0.5,"temperature":1}',
            ["its weight is float", "evaluate: 16 images"],
        ),
    ],
)
def test_recipes_that_are_hard_to_try(words, told):
    done = smoke(*words.split())
    assert done.exit_code == 0, done.output
    for text in told:
        assert text in done.stdout
