"""What `pip install .` gives, away from the checkout."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_every_bundled_package_is_declared_twice():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = sorted(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(project["project"]["entry-points"]["qcli"].values()) == folders
    assert sorted(wheel) == sorted(["qcli", *(f"plugins/{name}" for name in folders)])
    assert set(folders) <= set(project["tool"]["mypy"]["packages"])


@pytest.mark.slow
def test_an_installed_wheel_works_alone(tmp_path):
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    install += ["--no-build-isolation", "--target", str(target), str(ROOT)]
    subprocess.run(install, check=True, cwd=tmp_path)
    code = (
        "import qcli, sys; from qcli.cli import main; print(qcli.__file__, file=sys.stderr); main()"
    )

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(target)},
            capture_output=True,
            text=True,
            check=True,
        )

    done = run("list", "--json")
    assert str(target) in done.stderr
    found = json.loads(done.stdout)
    recipes = ROOT / "recipes"
    shipped = [*recipes.glob("training/*.json"), *recipes.glob("quantization/*.json")]
    assert sorted(row["name"] for row in found["recipes"]) == sorted(path.stem for path in shipped)
    tables = [json.loads(path.read_text()) for path in recipes.glob("experiments/*.json")]
    rows = sorted(row["id"] for table in tables for row in table["rows"])
    assert sorted(row["name"] for row in found["experiments"]) == rows
    assert {"lsq", "categorical"} <= {row["name"] for row in found["quantizers"]}
    run("plugin", "new", "dataset", "mine")
    assert (tmp_path / "qcli-mine" / "src" / "qcli_mine" / "images.py").is_file()
    assert (target / "qcli" / "testing" / "test_plugins.py").is_file()
    run("train", "--epochs", "1", "-o", "run")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["epochs"] == 1
