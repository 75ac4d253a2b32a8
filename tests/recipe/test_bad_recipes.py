"""A folder of bad recipes, each with the exact lines that it must be answered with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from qcli.catalog.load import load_catalog
from qcli.errors import RecipeError
from qcli.recipe.checks import check_recipe
from qcli.recipe.document import read_document

FOLDER = Path(__file__).parents[1] / "bad_recipes"
# What `qcli check` takes for a valid recipe of the other kind.
OF_THE_OTHER_KIND = {"quantization/training_recipe.json", "training/json_list.json"}
# What has no key of one kind alone, and is checked as training.
OF_NO_KIND = {"quantization/default_missing.json", "quantization/json_number.json"}
EXPECTED = json.loads((FOLDER / "expected.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


def find_lines(file, catalog):
    kind = file.partition("/")[0]
    try:
        findings = check_recipe(read_document(file, kind), kind, catalog)
    except RecipeError as error:
        return list(error.faults)
    return [*findings.faults, *findings.missing]


def test_every_file_is_expected():
    files = {str(path.relative_to(FOLDER)) for path in FOLDER.glob("*/*.json")}
    assert files == EXPECTED.keys()
    assert len(files) >= 45


@pytest.mark.parametrize("file", EXPECTED)
def test_message(file, catalog, monkeypatch):
    monkeypatch.chdir(FOLDER)
    assert EXPECTED[file]
    assert find_lines(file, catalog) == EXPECTED[file]


def test_check_tells_all_of_them_at_once():
    command = [sys.executable, "-m", "qcli", "check", *EXPECTED]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert {line.partition(":")[0] for line in done.stdout.splitlines()} == OF_THE_OTHER_KIND
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    told = [line.removeprefix("error: ") for line in lines]
    silent = {file for file in EXPECTED if not any(file in line for line in told)}
    # A fault may lie in the parent alone.
    assert silent == OF_THE_OTHER_KIND | {"quantization/extends_list_slot.json"}
    untold = {file for file, own in EXPECTED.items() if not set(own) <= set(told)}
    assert untold == OF_THE_OTHER_KIND | OF_NO_KIND
