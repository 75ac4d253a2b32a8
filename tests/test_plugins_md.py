"""What PLUGINS.md shows works as it stands."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any

import pytest

import qcli
from qcli.catalog.load import HOOKS
from qcli.cli import cli
from qcli.testing import LawBroken

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "PLUGINS.md").read_text("utf-8")
FILES = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
CONSOLES = [
    [line.removeprefix("$ ") for line in block.splitlines()]
    for block in re.findall(r"^```console\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
]
PACKAGED = next(commands for commands in CONSOLES if commands[0] == "pip install .")
CLAMPED = (
    "y = latent.float().clamp(min=0).minimum(self.clip); "
    "return qcli.round_ste(y * self.top / self.clip) * (self.clip / self.top) + 0.0"
)
INSTALL_OPTIONS = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder with every file that the document shows."""
    for name, code in FILES.items():
        (tmp_path / name).write_text(code, "utf-8")
    return tmp_path


def table(heading: str) -> list[list[str]]:
    """Return the cells of the rows of the table under a heading."""
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_document_is_ascii() -> None:
    assert TEXT.isascii()


def test_document_shows_every_kind_of_file() -> None:
    assert [name for name in FILES if not name.endswith((".json", ".toml"))] == [
        "qcli_ternary.py",
        "qcli_mlp.py",
        "qcli_halves.py",
        "qcli_sizes.py",
        "qcli_scratch.py",
        "test_ternary.py",
        "qcli_clip.py",
        "test_clip.py",
    ]
    assert len([line for line in FILES["qcli_ternary.py"].splitlines() if line.strip()]) <= 30


def test_every_hook_is_named() -> None:
    assert [hook for hook in HOOKS if f"`{hook}`" not in TEXT] == []


def test_contract_table_lists_the_methods_with_their_arguments() -> None:
    shown = {cells[0].strip("`") for cells in table("The contract of a quantizer")}
    methods = {
        f"{name}({', '.join(list(inspect.signature(method).parameters)[1:])})"
        for name, method in vars(qcli.Quantizer).items()
        if inspect.isfunction(method) and not name.startswith("_") and name != "extra_repr"
    }
    assert shown == methods


def test_contract_table_tells_what_is_required() -> None:
    required = {
        cells[0].strip("`").partition("(")[0]
        for cells in table("The contract of a quantizer")
        if cells[2] == "required"
    }
    for name in required:
        assert "NotImplementedError" in inspect.getsource(getattr(qcli.Quantizer, name))
    assert required == {"forward", "codebook", "codes"}


def test_public_names_exist() -> None:
    names = set(re.findall(r"`?qcli\.([A-Za-z_]+)", TEXT)) - {"testing", "build", "deployment"}
    assert [name for name in names if not hasattr(qcli, name)] == []


@pytest.mark.parametrize("message", [row[0] for row in table("When something is wrong")])
def test_messages_are_those_of_the_catalog(message: str) -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "qcli/catalog").glob("*.py"))
    assert message.strip("`") in source


def test_commands_work_without_packaging(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(written)
    commands = [command for console in CONSOLES if console != PACKAGED for command in console]
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "qcli"
        assert not cli.main(arguments, prog_name="qcli", standalone_mode=False), command
    result = json.loads((written / "runs/halves/result.json").read_text("utf-8"))
    assert result["best"]["top1"] > 0.95
    sizes = json.loads((written / "sizes.json").read_text("utf-8"))
    assert sizes["relu1.output"] == ["uint8", 32, 24, 24]
    assert sizes["logits"][1:] == [10]


def test_laws_hold(written: Path) -> None:
    catalog = qcli.load_catalog([str(written / name) for name in FILES if name[:5] == "qcli_"])
    from qcli.testing import check_architecture, check_dataset, check_quantizer

    check_quantizer(catalog.quantizer("ternary"))
    check_architecture(catalog.architecture("mlp")[0])
    check_dataset(catalog.dataset("halves"))


def run_clip_tests(code: str, folder: Path) -> None:
    """Run the chapter's tests against a version of its quantizer."""
    module = types.ModuleType("qcli_clip")
    exec(compile(code, str(folder / "qcli_clip.py"), "exec"), vars(module))
    tests: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "qcli_clip", module)
        exec(FILES["test_clip.py"], tests)
    for test in (tests["test_equations"], tests["test_laws"]):
        test()


def test_real_method_passes(tmp_path: Path) -> None:
    run_clip_tests(FILES["qcli_clip.py"], tmp_path)


@pytest.mark.parametrize(
    ("written", "instead", "error"),
    [
        ("return Cut.apply(latent, self.clip, self.top)", CLAMPED, AssertionError),
        (" + 0.0)", ")", LawBroken),
        ("self.clip.clamp_(min=", "torch.tensor(", LawBroken),
    ],
    ids=["clamp", "negative zero", "positivity"],
)
def test_real_method_is_caught_as_the_chapter_says(
    written: str, instead: str, error: type[Exception], tmp_path: Path
) -> None:
    code = FILES["qcli_clip.py"]
    assert code.count(written) == 1
    with pytest.raises(error):
        run_clip_tests(code.replace(written, instead), tmp_path)


@pytest.mark.slow
def test_commands_work_packaged(written: Path) -> None:
    site = written / "site"
    install = [sys.executable, "-m", "pip", "install", *INSTALL_OPTIONS, "--target", str(site), "."]
    subprocess.run(install, cwd=written, check=True, timeout=120, capture_output=True)
    # Away from the sources: only what was installed can be found.
    away = written / "away"
    away.mkdir()
    (written / "ternary.json").rename(away / "ternary.json")
    outputs = [_run(command, away, site) for command in PACKAGED[1:]]
    assert "qcli-ternary" in outputs[0]
    assert "Weights below this multiple of the mean magnitude become 0." in outputs[2]
    _run("python -m pytest -q -p no:cacheprovider ../test_ternary.py", away, site)


def _run(command: str, cwd: Path, site: Path) -> str:
    program, *arguments = shlex.split(command)
    done = subprocess.run(
        [str(Path(sysconfig.get_path("scripts")) / program), *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
    return done.stdout
