"""`qcli plugin new`: what it writes is whole, and nothing else is touched."""

import ast
import json
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

import qcli
from qcli.authoring.names import make_names
from qcli.authoring.package import KINDS, TEMPLATES, fill_templates, write_package
from qcli.cli import cli
from qcli.errors import PluginError
from qcli.reporting.next_steps import after_plugin

# What pyproject.toml asks of qcli's own code, with the settings of nobody else's project.
RULES = "E,F,W,I,UP,B,ANN,PT,RUF,SIM,TID,C90"
CODE = ["--line-length=100", "--target-version=py311", "--isolated", "--no-cache", "--quiet"]
DOCSTRINGS = ["--select=D", "--ignore=D105,D107", "--config=lint.pydocstyle.convention='google'"]


def new(folder, monkeypatch, *arguments):
    monkeypatch.chdir(folder)
    return CliRunner().invoke(cli, ["plugin", "new", *arguments])


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A package of each kind, by kind."""
    folder = tmp_path_factory.mktemp("packages")
    written = {kind: folder / f"qcli-my-{kind}" for kind in KINDS}
    for kind, path in written.items():
        write_package(kind, make_names(f"my-{kind}"), path)
    return written


def test_every_template_is_used():
    used = {f"{kind}/{name}" for kind, each in KINDS.items() for name in each.files}
    found = {str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*.template")}
    assert found == {f"{name}.template" for name in {*used, "shared/pyproject.toml"}}


def test_it_says_what_it_wrote(tmp_path, monkeypatch):
    done = new(tmp_path, monkeypatch, "quantizer", "my_method")
    assert done.exit_code == 0, done.output
    told = done.stdout.split()
    found = [path for path in (tmp_path / "qcli-my-method").rglob("*") if path.is_file()]
    assert sorted(told) == sorted(str(path.relative_to(tmp_path)) for path in found)
    assert "qcli-my-method/README.md says what to change" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["qcli-my-method"]
    assert new(tmp_path, monkeypatch, "quantizer", "my_method", "-o", "a/b c").exit_code == 0
    steps = [shlex.split(line) for line in after_plugin("my_method", Path("a/b c"))]
    assert ["pip", "install", "-e", "a/b c[test]"] in steps
    assert (tmp_path / "a/b c/src/qcli_my_method/quantizer.py").is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_whole(packages, kind):
    for path in packages[kind].rglob("*"):
        if path.is_file():
            text = path.read_text("utf-8")
            assert text.isascii()
            assert "$" not in text.replace("\n$ ", "")
    project = tomllib.loads((packages[kind] / "pyproject.toml").read_text())["project"]
    assert project["name"] == f"qcli-my-{kind}"
    assert project["entry-points"]["qcli"] == {f"my-{kind}": f"qcli_my_{kind}"}
    assert project["dependencies"] == ["qcli>=0.1.0"]


@pytest.mark.parametrize("kind", KINDS)
def test_code_is_as_clean_as_ours(packages, kind):
    ruff = [sys.executable, "-m", "ruff"]
    for command in (
        ["check", f"--select={RULES}", *CODE, "."],
        ["check", *DOCSTRINGS, *CODE, "src"],
        ["format", "--check", *CODE, "."],
    ):
        done = subprocess.run([*ruff, *command], cwd=packages[kind], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_entries_load_without_torch(packages):
    sources = os.pathsep.join(str(path / "src") for path in packages.values())
    code = (
        "import json, sys; from qcli.catalog.load import load_catalog\n"
        "catalog = load_catalog(sys.argv[1:]); assert not catalog.problems, catalog.problems\n"
        "own = [each.entry.name for each in catalog.offers if each.distribution != 'qcli']\n"
        "print(json.dumps([own, 'torch' in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *(f"qcli_my_{kind}" for kind in KINDS)],
        env={**os.environ, "PYTHONPATH": sources},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [[f"my-{kind}" for kind in KINDS], False]


def test_the_quantizer_says_its_six_parts(packages):
    source = packages["quantizer"] / "src/qcli_my_quantizer/quantizer.py"
    (method,) = (node for node in ast.parse(source.read_text()).body if hasattr(node, "bases"))
    text = ast.get_docstring(method)
    parts = ["Forward:", "Backward:", "Learned:", "Starts at:", "Source:", "Differs:"]
    assert [part for part in parts if f"\n{part}" not in text] == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["class", "import", "any", "torch", "tensor", "qcli", "path"])
def test_words_of_python_can_be_names(kind, name):
    for path, text in fill_templates(kind, make_names(name)).items():
        if path.endswith(".py"):
            compile(text, path, "exec")


HOSTILE = ["", " ", "../up", "/abs", "a/b", "a b", "Upper", "9lives", "-x", "a--b", "a_", "_a"]
HOSTILE += ["a.b", "a\n", "a\x1b[2J", "a\0", "\u00fcber", "$name", "a'b", "a" * 41, "none", "true"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused(name, tmp_path, monkeypatch):
    done = new(tmp_path, monkeypatch, "exporter", "--", name)
    assert done.exit_code != 0
    assert list(tmp_path.iterdir()) == []
    text = str(done.exception)
    assert "cannot name a plugin" in text or "a word of Python" in text
    assert text.isprintable()


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("quantizer", "lsq", 'qcli 0.1.0 offers the quantizer "lsq" already'),
        ("architecture", "torchvision", 'offers the architecture "torchvision" already'),
        ("dataset", "cifar10", 'offers the dataset "cifar10" already'),
        ("exporter", "packed", 'offers the exporter "packed" already'),
        ("quantizer", "architectures", "a module qcli_architectures is installed already"),
    ],
)
def test_names_that_are_taken_are_refused(kind, name, text, tmp_path, monkeypatch):
    done = new(tmp_path, monkeypatch, kind, name)
    assert text in str(done.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lies_there", ["folder", "file", "link"])
def test_nothing_is_overwritten(lies_there, tmp_path, monkeypatch):
    place = tmp_path / "qcli-mine"
    match lies_there:
        case "folder":
            place.mkdir()
        case "file":
            place.write_text("precious")
        case "link":
            place.symlink_to("nowhere")
    done = new(tmp_path, monkeypatch, "quantizer", "mine")
    assert "qcli-mine exists" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["qcli-mine"]
    assert lies_there != "file" or place.read_text() == "precious"


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    write, count = Path.write_text, 0

    def fill(path, *arguments, **options):
        nonlocal count
        count += 1
        if count == 4:
            raise OSError(28, "No space left on device")
        return write(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", fill)
    done = new(tmp_path, monkeypatch, "dataset", "mine")
    assert isinstance(done.exception, OSError)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_plugin_elsewhere_does_not_matter(tmp_path, monkeypatch):
    assert new(tmp_path, monkeypatch, "quantizer", "ours").exit_code == 0
    monkeypatch.syspath_prepend(tmp_path / "qcli-ours" / "src")
    catalog = qcli.load_catalog(["qcli_ours"])
    assert catalog.quantizer("ours").source.startswith("Jacob et al.")
    with pytest.raises(PluginError):
        qcli.load_catalog().quantizer("ours")
    del sys.modules["qcli_ours"]
