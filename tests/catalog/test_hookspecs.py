"""The docstring of every hook holds a complete plugin, which works as it stands."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import qcli
from qcli.catalog import hookspecs
from qcli.catalog.load import HOOKS
from qcli.cli import cli

Run = Callable[..., str]

SIGN_RECIPE = {"name": "sign", "default": {"weight": {"quantizer": "sign"}}}
TRAINING_RECIPE = {
    "name": "tiny",
    "architecture": {"name": "mlp"},
    "dataset": {"name": "stripes"},
    "epochs": 2,
    "batch_size": 64,
    "lr": 0.01,
    "optimizer": {"name": "adam"},
}


def plugin_of(hook: str) -> str:
    """Return the code that stands indented behind "A complete plugin:"."""
    text = inspect.getdoc(getattr(hookspecs, hook)) or ""
    _, found, code = text.partition("A complete plugin:\n\n")
    assert found, f"the docstring of {hook} has no complete plugin"
    return textwrap.dedent(code)


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The plugins of all docstrings, as files."""
    folder = tmp_path_factory.mktemp("docstrings")
    files = []
    for hook in HOOKS:
        file = folder / f"{hook}.py"
        file.write_text(plugin_of(hook), "utf-8")
        files.append(str(file))
    return files


@pytest.fixture
def run(plugins: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs qcli with those plugins and returns what it prints to stdout."""
    (tmp_path / "sign.json").write_text(json.dumps(SIGN_RECIPE), "utf-8")
    (tmp_path / "tiny.json").write_text(json.dumps(TRAINING_RECIPE), "utf-8")
    options = [part for file in plugins for part in ("--plugin", file)]

    def call(*arguments: str) -> str:
        capsys.readouterr()
        assert not cli.main([*arguments, *options], prog_name="qcli", standalone_mode=False)
        return capsys.readouterr().out

    return call


def test_each_docstring_offers_one_entry(plugins: list[str]) -> None:
    catalog = qcli.load_catalog(plugins)
    offered = {
        offer.entry.name for offer in catalog.offers if offer.distribution.startswith("--plugin")
    }
    assert (catalog.problems, offered) == ([], {"sign", "mlp", "sizes", "stripes"})
    assert "git" in {offer.entry.name for offer in catalog.health_checks}


def test_git_is_looked_for(run: Run) -> None:
    (found,) = json.loads(run("doctor", "git", "--json"))["checks"]
    assert found["distribution"].startswith("--plugin ")
    assert found["findings"][0]["text"].endswith("runs tell their commit")


def test_sign_quantizes_a_layer_as_planned(run: Run, tmp_path: Path) -> None:
    plan = json.loads(
        run("plan", "-a", "lenet5", "--quant-json", str(tmp_path / "sign.json"), "--json")
    )
    weights = {row["layer"]: row["weight"] for row in plan["layers"]}
    assert weights["conv1"] is None
    assert weights["conv2"] == {"quantizer": "sign", "bits": 1}


def test_sign_obeys_the_contract(plugins: list[str]) -> None:
    entry = qcli.load_catalog(plugins).quantizer("sign")
    quantizer = entry.build(qcli.TensorInfo("weight", (2, 2)))
    latent = torch.tensor([[-0.5, 0.0], [0.25, -3.0]], requires_grad=True)
    values = quantizer(latent)
    assert values.tolist() == [[-1.0, 1.0], [1.0, -1.0]]
    assert torch.equal(quantizer.decode(quantizer.codes(latent)), values)
    values.sum().backward()
    assert latent.grad is not None
    assert latent.grad.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_mlp_takes_images_of_any_shape(plugins: list[str]) -> None:
    entry, _ = qcli.load_catalog(plugins).architecture("mlp")
    assert entry.build(3, (2, 5, 7))(torch.zeros(4, 2, 5, 7)).shape == (4, 3)


def test_stripes_are_made_in_the_shape_asked_for(plugins: list[str]) -> None:
    splits = qcli.load_catalog(plugins).dataset("stripes").build(None, (3, 6, 4))
    assert splits.train.images.shape == (512, 3, 6, 4)
    assert splits.test.images.dtype == torch.uint8
    assert splits.test.labels.unique().tolist() == [0, 1]


def test_all_three_train_together(run: Run, tmp_path: Path) -> None:
    recipes = ("--train-json", str(tmp_path / "tiny.json"), "--first-layer", "default")
    quantized = ("--quant-json", str(tmp_path / "sign.json"))
    run("train", *recipes, *quantized, "-o", str(tmp_path / "run"), "--cpu")
    result = json.loads((tmp_path / "run" / "result.json").read_text("utf-8"))
    assert result["best"]["top1"] > 0.95
    measured = json.loads(run("eval", str(tmp_path / "run"), "--cpu", "--json"))
    assert measured["top1"] == result["best"]["top1"]
