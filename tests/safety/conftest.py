"""A mark that hostile files would leave, and a run that somebody gave to the user."""

import contextlib
import json
import shutil

import hostile
import pytest
from invocation import invoke

RECIPE = {
    "name": "given",
    "extends": "lenet5-digits-20ep",
    "dataset": {"name": "synthetic", "train_images": 64, "test_images": 32},
    "batch_size": 32,
    "epochs": 1,
    "ema": {"decay": 0.9},
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A finished run with everything that a checkpoint can hold."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "recipe.json").write_text(json.dumps(RECIPE))
    recipes = ("--train-json", f"{folder}/recipe.json", "--quant-json", "lsq-w4a4-integer")
    outcome = invoke("train", "--cpu", *recipes, "-o", folder / "run")
    assert outcome.code == 0, outcome.stderr
    return folder / "run"


@pytest.fixture
def given(trained, tmp_path):
    """A copy of that run which can be gone on with: it has trained all epochs, and no result."""
    shutil.copytree(trained, tmp_path / "given")
    (tmp_path / "given/result.json").unlink()
    return tmp_path / "given"


@pytest.fixture
def mark(tmp_path):
    """The folder that hostile files make where they are obeyed."""
    return tmp_path / "OBEYED"


@pytest.fixture
def arm(mark):
    """Return a function that makes a hostile file, which is shown to work where it is obeyed."""

    def make(pickled="reduce_2", carrier="plain"):
        wrap, load = hostile.CARRIERS[carrier]
        content = wrap(hostile.PICKLES[pickled](str(mark)))
        # What it returns need not please the loader: it has run by then.
        with contextlib.suppress(Exception):
            load(content)
        mark.rmdir()
        return content

    return make
