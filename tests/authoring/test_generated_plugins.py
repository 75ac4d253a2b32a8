"""Packages as `qcli plugin new` writes them, installed by pip: their tests and READMEs hold."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from qcli.authoring.names import make_names
from qcli.authoring.package import KINDS, write_package
from qcli.cli import cli

pytestmark = pytest.mark.slow

INSTALL_OPTIONS = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a package of each kind, and with `site`, where pip has installed them."""
    folder = tmp_path_factory.mktemp("generated")
    sources = [folder / f"qcli-my-{kind}" for kind in KINDS]
    for kind, source in zip(KINDS, sources, strict=True):
        write_package(kind, make_names(f"my-{kind}"), source)
    install = [sys.executable, "-m", "pip", "install", "--quiet", *INSTALL_OPTIONS]
    command = [*install, "--target", str(folder / "site"), *map(str, sources)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder


def run_pytest(folder, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "site"), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_their_tests_pass(folder):
    done = run_pytest(folder, "-q", *(f"qcli-my-{kind}/tests" for kind in KINDS))
    assert done.returncode == 0, done.stdout
    assert "16 passed" in done.stdout


def test_the_laws_run_without_a_test(folder, tmp_path):
    draw = [sys.executable, str(folder / "qcli-my-dataset/draw_images.py"), str(tmp_path)]
    subprocess.run(draw, check=True)
    arguments = ("-v", "--pyargs", "qcli.testing")
    done = run_pytest(folder, *arguments, QCLI_TEST_DATA=str(tmp_path))
    assert done.returncode == 0, done.stdout
    for kind in KINDS:
        assert f"test_laws[my-{kind}-my-{kind}] PASSED" in done.stdout
    assert "5 passed" in done.stdout


def test_a_law_that_is_broken_is_told(folder):
    method = folder / "site/qcli_my_quantizer/quantizer.py"
    code = method.read_text()
    try:
        method.write_text(code.replace("(code * step + 0.0)", "(code * step)"))
        chosen = {"QCLI_TEST_PLUGINS": "my-quantizer"}
        done = run_pytest(folder, "-q", "--pyargs", "qcli.testing", **chosen)
    finally:
        method.write_text(code)
    assert done.returncode == 1
    assert "-0.0 is not among" in done.stdout
    assert "1 failed, 1 passed" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_readme_shows_works(folder, kind, monkeypatch, capfd):
    source = folder / f"qcli-my-{kind}"
    monkeypatch.chdir(source)
    monkeypatch.syspath_prepend(folder / "site")
    (block,) = re.findall(
        r"^```console\n(.*?)^```$", (source / "README.md").read_text(), re.M | re.S
    )
    commands = [shlex.split(line.removeprefix("$ ")) for line in block.splitlines()]
    assert [words[0] for words in commands[:2]] == ["pip", "pytest"]
    for program, *arguments in commands[2:]:
        if program == "python":
            subprocess.run([sys.executable, *arguments], check=True)
        else:
            assert not cli.main(arguments, prog_name="qcli", standalone_mode=False), arguments
    trained = source / ("small" if kind == "exporter" else "first")
    assert json.loads((trained / "result.json").read_text())["best"]["top1"] > 0.15
    if kind == "exporter":
        assert "products of an image" in capfd.readouterr().out
