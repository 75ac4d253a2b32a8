"""A plugin that pip installs works in every verb, and a broken one ends nothing but itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[1] / "example_plugin"
QCLI = Path(sysconfig.get_path("scripts")) / "qcli"

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]

BROKEN_PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "qcli-{name}"
version = "0.7"

[project.entry-points.qcli]
{name} = "qcli_{name}"
"""
REGISTER = """
import qcli

@qcli.hookimpl
def {hook}():
    return [qcli.QuantizerEntry(
        name="lsq", summary="Not the one.", source="here", build="qcli_none:None_")]
"""
# The code of each broken distribution, and what is said of it.
BROKEN = {
    "import_error": (
        "import module_that_nobody_has",
        "ModuleNotFoundError: No module named 'module_that_nobody_has'",
    ),
    "system_exit": ("raise SystemExit('no license')", "SystemExit: no license"),
    "unknown_hook": (
        REGISTER.format(hook="qcli_register_quantisers"),
        "TypeError: unknown hook qcli_register_quantisers",
    ),
}
DUPLICATE = REGISTER.format(hook="qcli_register_quantizers")

QUANTIZATION = {
    "name": "shifts",
    "default": {"weight": {"quantizer": "power_of_two", "bits": 4}},
    "last_layer": {"weight": {"quantizer": "power_of_two"}},
}
TRAINING = {
    "name": "tiny",
    "architecture": {"name": "tiny_cnn", "width": 8},
    "dataset": {"name": "bars", "train_images": 1024},
    "epochs": 2,
    "batch_size": 32,
    "lr": 0.02,
    "optimizer": {"name": "adam"},
}


def pip_install(source: Path, target: Path) -> Path:
    """Install a distribution with pip into a folder of its own, without a network."""
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *options]
    done = subprocess.run(
        [*command, "--target", str(target), str(source)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return target


def run_qcli(*arguments: str, installed: list[Path], cwd: Path, **environment: str) -> Result:
    """Run the qcli command beside the distributions in folders."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("QCLI_")}
    path = os.pathsep.join(str(folder) for folder in installed)
    return subprocess.run(
        [str(QCLI), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        env={**inherited, "PYTHONPATH": path, "COLUMNS": "200", **environment},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example plugin as pip installs it."""
    return pip_install(EXAMPLE, tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="module")
def broken_site(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return a function that makes a distribution of one module and installs it, once."""
    made: dict[str, Path] = {}

    def make(name: str, code: str) -> Path:
        if name not in made:
            source = tmp_path_factory.mktemp(name)
            (source / "pyproject.toml").write_text(BROKEN_PROJECT.format(name=name), "utf-8")
            (source / f"qcli_{name}.py").write_text(code, "utf-8")
            made[name] = pip_install(source, tmp_path_factory.mktemp(f"{name}_installed"))
        return made[name]

    return make


@pytest.fixture
def run(site: Path, tmp_path: Path) -> Run:
    """Return a function that runs qcli beside the example plugin, where its recipes lie."""
    write_json(tmp_path / "shifts.json", QUANTIZATION)
    write_json(tmp_path / "tiny.json", TRAINING)

    def call(*arguments: str, beside: Path | None = None, **environment: str) -> Result:
        installed = [site, beside] if beside else [site]
        return run_qcli(*arguments, installed=installed, cwd=tmp_path, **environment)

    return call


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), "utf-8")


def read_json(result: Result) -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("quantizers", "power_of_two"), ("architectures", "tiny_cnn"), ("datasets", "bars")],
)
def test_list_names_the_distribution(run: Run, kind: str, name: str) -> None:
    rows = {row["name"]: row for row in read_json(run("list", kind, "--json"))[kind]}
    assert (rows[name]["distribution"], rows[name]["version"]) == ("qcli-example", "1.2.3")
    others = {row["distribution"] for key, row in rows.items() if key != name}
    assert others == {"qcli"}


def test_list_plugins_names_it(run: Run) -> None:
    rows = read_json(run("list", "plugins", "--json"))["plugins"]
    assert {
        "name": "example",
        "distribution": "qcli-example",
        "version": "1.2.3",
        "problem": None,
    } in rows


def test_show_tells_the_options(run: Run) -> None:
    shown = read_json(run("show", "power_of_two", "--json"))
    assert (shown["kind"], shown["distribution"]) == ("quantizer", "qcli-example")
    assert shown["options"]["bits"]["maximum"] == 5
    printed = run("show", "power_of_two")
    assert "The width of a code in bits; one of them is the sign." in printed.stdout


def test_check_knows_the_options(run: Run, tmp_path: Path) -> None:
    good = run("check", "shifts.json", "tiny.json")
    assert (good.returncode, good.stderr) == (0, "")
    slot = {"quantizer": "power_of_two", "bits": 9, "bit": 2}
    write_json(tmp_path / "bad.json", {"name": "bad", "default": {"weight": slot, "input": slot}})
    bad = run("check", "bad.json")
    assert bad.returncode == 2
    assert "bad.json: /default/weight/bits: 9 is more than the maximum 5" in bad.stderr
    assert '/default/weight/bit: unknown key (did you mean "bits"?)' in bad.stderr
    slot_fault = '/default/input/quantizer: found "power_of_two", which quantizes weight only'
    assert slot_fault in bad.stderr


def test_schema_holds_the_options(run: Run) -> None:
    quantization = json.dumps(read_json(run("schema", "quantization")))
    assert "The width of a code in bits; one of them is the sign." in quantization
    training = json.dumps(read_json(run("schema", "training")))
    assert "The channels of the first convolution; the second has twice." in training
    assert "The number of training images." in training


def test_plan_uses_the_entry(run: Run) -> None:
    plan = read_json(run("plan", "-a", "tiny_cnn", "--quant-json", "shifts.json", "--json"))
    weights = {row["layer"]: row["weight"] for row in plan["layers"]}
    assert weights == {
        "conv1": None,
        "conv2": {"quantizer": "power_of_two", "bits": 4},
        "fc": {"quantizer": "power_of_two", "bits": 3},
    }


def test_train_then_eval(run: Run, tmp_path: Path) -> None:
    recipes = ["--train-json", "tiny.json", "--quant-json", "shifts.json"]
    trained = run("train", *recipes, "-o", "run", "--cpu", "--threads", "1")
    assert trained.returncode == 0, trained.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert record["versions"]["qcli-example"] == "1.2.3"
    best = json.loads((tmp_path / "run" / "result.json").read_text("utf-8"))["best"]["top1"]
    measured = read_json(run("eval", "run", "--cpu", "--json"))
    assert (measured["top1"], measured["images"]) == (best, 128)
    assert best > 0.75
    gone = run_qcli("eval", "run", "--cpu", installed=[], cwd=tmp_path)
    assert gone.returncode == 3
    assert 'unknown quantizer "power_of_two"' in gone.stderr


@pytest.mark.parametrize("name", BROKEN)
def test_broken_plugin_is_named_and_ends_nothing(
    run: Run, broken_site: Callable[[str, str], Path], name: str
) -> None:
    code, problem = BROKEN[name]
    beside = broken_site(name, code)
    rows = read_json(run("list", "plugins", "--json", beside=beside))["plugins"]
    states = {row["name"]: row for row in rows}
    found = (states[name]["distribution"], states[name]["version"])
    assert found == (f"qcli-{name}", "0.7")
    assert states[name]["problem"].startswith(problem)
    assert [key for key, row in states.items() if row["problem"]] == [name]

    listed = run("list", beside=beside)
    assert listed.returncode == 0
    assert "power_of_two" in listed.stdout
    assert "warning: plugin" in listed.stderr
    assert problem in listed.stderr

    disabled = run("list", beside=beside, QCLI_DISABLE_PLUGINS=name)
    assert (disabled.returncode, disabled.stderr) == (0, "")


def test_training_goes_on_beside_all_broken_plugins(
    broken_site: Callable[[str, str], Path], tmp_path: Path
) -> None:
    codes = {name: code for name, (code, _) in BROKEN.items()} | {"duplicate": DUPLICATE}
    beside = [broken_site(name, code) for name, code in codes.items()]
    options = ["--epochs", "1", "-o", "run", "--cpu", "--threads", "1"]
    trained = run_qcli("train", *options, installed=beside, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "run" / "result.json").exists()


def test_name_that_two_distributions_offer(
    run: Run, broken_site: Callable[[str, str], Path], tmp_path: Path
) -> None:
    beside = broken_site("duplicate", DUPLICATE)
    listed = run("list", beside=beside)
    assert listed.returncode == 0
    assert "categorical" in listed.stdout
    who = 'two plugins offer the quantizer "lsq": qcli 0.1.0 and qcli-duplicate 0.7'
    assert f"warning: {who}" in listed.stderr

    write_json(tmp_path / "lsq.json", {"name": "l", "default": {"weight": {"quantizer": "lsq"}}})
    for asked in (
        ["check", "lsq.json"],
        ["plan", "-a", "tiny_cnn", "--quant-json", "lsq.json"],
        ["show", "lsq"],
    ):
        refused = run(*asked, beside=beside)
        assert refused.returncode == 3, asked
        assert who in refused.stderr

    bisected = run("check", "lsq.json", beside=beside, QCLI_DISABLE_PLUGINS="duplicate")
    assert bisected.returncode == 0, bisected.stderr


def test_build_that_cannot_be_imported(
    run: Run, broken_site: Callable[[str, str], Path], tmp_path: Path
) -> None:
    beside = broken_site("no_build", DUPLICATE.replace('"lsq"', '"hollow"'))
    recipe = {"name": "h", "default": {"weight": {"quantizer": "hollow"}}}
    write_json(tmp_path / "hollow.json", recipe)
    assert run("check", "hollow.json", beside=beside).returncode == 0
    refused = run("plan", "-a", "tiny_cnn", "--quant-json", "hollow.json", beside=beside)
    assert refused.returncode == 3
    text = '"hollow" names qcli_none:None_, which cannot be imported: ModuleNotFoundError'
    assert text in refused.stderr
