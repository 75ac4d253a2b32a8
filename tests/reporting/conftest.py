"""Runs that reports are made of: one that was trained, and copies of it that are spoiled."""

import json
import shutil

import pytest
from click.testing import CliRunner

from qcli.cli import cli


@pytest.fixture(scope="session")
def run_qcli():
    """Return a function that runs a verb, which must succeed, and returns what it printed."""

    def run(*arguments):
        result = CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory, run_qcli):
    """A run of two epochs whose every weight and activation is quantized."""
    path = tmp_path_factory.mktemp("reported") / "small"
    recipes = ("--train-json", "lenet5-digits-20ep", "--quant-json", "lsq-w4a4-integer")
    few = ("--epochs", 2, "--cpu", "--threads", 1)
    run_qcli("train", "-a", "lenet_n2d2", *recipes, *few, "-o", path)
    return path


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of the run to be spoiled; the folder has another name."""
    return shutil.copytree(trained, tmp_path / "copy", ignore=shutil.ignore_patterns("report"))


@pytest.fixture(scope="session")
def change():
    """Return a function that changes a JSON file of a run by a function of its value."""

    def change(file, by):
        value = json.loads(file.read_text("utf-8"))
        by(value)
        file.write_text(json.dumps(value), "utf-8")

    return change
