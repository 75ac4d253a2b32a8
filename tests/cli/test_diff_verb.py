"""`qcli diff` on a run that was trained, and on copies of it that were changed."""

import json
import shutil

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from qcli.campaign.run_difference import compare_courses
from qcli.cli import cli
from qcli.errors import RunError, TargetError
from qcli.training.run_directory import RunDirectory

LAYER = "conv2.parametrizations.weight.original"


def invoke(*arguments):
    return CliRunner().invoke(cli, [str(word) for word in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("diff") / "first"
    recipes = ("-d", "synthetic", "--train-json", "lenet5-digits-20ep", "--quant-json", "search-1b")
    images = ("--set", "dataset.train_images=64", "--set", "dataset.test_images=32")
    done = invoke("train", *recipes, *images, "--epochs", 1, "--cpu", "-o", path)
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "second")


def change(path, name, **fields):
    file = path / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def diff(*arguments):
    done = invoke("diff", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_run_is_itself(trained, copy):
    change(copy, "run.json", argv=["qcli", "train", "-o", "second"], git_commit="another")
    change(copy, "result.json", train_seconds=1e9)
    done = invoke("diff", trained, copy, "--exit-code")
    assert done.exit_code == 0
    assert done.stdout.endswith("second: the same run twice\n")
    assert "last weights: the same, bit for bit" in done.stdout
    document = diff(trained, copy)
    assert document["same"] is True
    assert {each["pointer"] for each in document["told"]} == {"/argv", "/git_commit"}


def test_what_it_was_made_of_is_told_by_pointer(trained, copy):
    change(copy, "training.json", seed=7)
    change(copy, "run.json", recipes_sha256=RunDirectory(copy).recipes_hash(), threads=9)
    document = diff(trained, copy)
    assert document["changes"]["training_recipe"] == [{"pointer": "/seed", "first": 0, "second": 7}]
    assert [each["pointer"] for each in document["changes"]["machine"]] == ["/threads"]
    assert document["same"] is False
    done = invoke("diff", trained, copy, "--exit-code")
    assert isinstance(done.exception, TargetError)
    assert invoke("diff", trained, copy).exit_code == 0


def test_weights_that_differ_are_counted_code_by_code(trained, copy):
    state = load_file(copy / "last.safetensors")
    logits = state[LAYER]
    # Of 1-bit search: the two levels change places in a quarter of the filters.
    logits[:, :16] = logits[:, :16].flip(0)
    save_file(state, copy / "last.safetensors")
    (layer,) = diff(trained, copy)["weights"]["layers"]
    share = 16 / logits.shape[1]
    assert layer["layer"] == "conv2"
    assert layer["codes"] == layer["values"] == pytest.approx(share, abs=1e-3)
    assert "conv2" in invoke("diff", trained, copy).stdout
    assert diff(trained, copy, "--weights", "best")["weights"]["same"] is True


def test_what_belongs_to_no_layer(trained, copy):
    state = load_file(copy / "last.safetensors")
    (name,) = [name for name in state if name == "fc2.bias"]
    state[name] = state[name] + 1
    save_file(state, copy / "last.safetensors")
    (rest,) = diff(trained, copy)["weights"]["layers"]
    assert (rest["layer"], rest["codes"]) == ("", None)
    assert 0 < rest["values"] < 1


def test_files_that_differ_around_the_same_tensors(trained, copy):
    state = load_file(copy / "last.safetensors")
    save_file(state, copy / "last.safetensors", metadata={"other": "words"})
    assert "the same, in files that differ" in invoke("diff", trained, copy).stdout


def test_a_run_without_result_is_compared_as_far_as_it_is(trained, copy):
    for name in ("result.json", "last.safetensors", "metrics.jsonl"):
        (copy / name).unlink()
    done = invoke("diff", trained, copy)
    assert "epochs: 1 and 0; the first 0 are compared" in done.stdout
    assert f"{copy} has none yet" in done.stdout
    assert done.stdout.endswith("not the same\n")


@pytest.mark.parametrize("name", ["run.json", "plan.json", "metrics.jsonl", "training.json"])
def test_damage_is_told(trained, copy, name):
    (copy / name).write_text("[1]\n")
    assert isinstance(invoke("diff", trained, copy).exception, RunError)


def test_the_first_epoch_that_differs():
    def rows(*losses):
        return [
            {"epoch": epoch, "loss": loss, "lr": 0.1, "train_seconds": epoch * loss}
            for epoch, loss in enumerate(losses, 1)
        ]

    (course,) = compare_courses(rows(3.0, 2.0, 1.0), rows(3.0, 2.5, 0.25, 7.0))
    assert (course.column, course.first_epoch, course.largest) == ("loss", 2, 0.75)
    assert list(compare_courses(rows(float("nan")), rows(float("nan")))) == []
