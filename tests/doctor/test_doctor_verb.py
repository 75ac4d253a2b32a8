"""`qcli doctor` from the command line, also where torch is broken."""

import json
import os
import subprocess
import sys

import pytest
from invocation import invoke

BROKEN_TORCH = "raise OSError('libtorch_cpu.so: cannot open shared object file')\n"


def test_a_broken_torch_is_named_and_everything_else_works(tmp_path):
    """No process imports torch but those of the checks that need it."""
    site = tmp_path / "site"
    for name in ("torch", "torchvision"):
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text(BROKEN_TORCH)
    (tmp_path / "here").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site), "HF_HOME": str(tmp_path)}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "qcli", "doctor", "--json"],
        env=environment,
        cwd=tmp_path / "here",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (1, "error: 1 error found; see above\n")
    found = json.loads(done.stdout)
    by_name = {each["check"]: each["findings"] for each in found["checks"]}
    assert {"python", "torch", "cuda", "plugins", "disk", "onnx", "c-compiler"} <= set(by_name)
    (torch,) = by_name.pop("torch")
    assert torch["severity"] == "error"
    assert "torch cannot be used: OSError: libtorch_cpu.so" in torch["text"]
    assert torch["remedy"] == "pip install --upgrade --force-reinstall torch torchvision"
    assert by_name["cuda"][0]["remedy"] == "qcli doctor torch"
    rest = [each for findings in by_name.values() for each in findings]
    assert [each for each in rest if each["severity"] == "error"] == []
    assert (found["schema_version"], found["errors"]) == (1, 1)
    assert list((tmp_path / "here").iterdir()) == []


def test_torch_and_torchvision_compute_here():
    outcome = invoke("doctor", "torch", "--json")
    (found,) = json.loads(outcome.stdout)["checks"]
    assert (outcome.code, found["check"], found["distribution"]) == (0, "torch", "qcli")
    assert [each["severity"] for each in found["findings"]] == ["ok"]


def test_lines_in_a_pipe_are_plain_and_aligned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = invoke("doctor", "data", "clock")
    assert (outcome.code, outcome.is_clean) == (0, True), outcome.stderr
    clock, data, remedy = outcome.stdout.splitlines()
    assert clock.startswith("ok       clock  20")
    assert data.startswith("note     data   digits and synthetic need no files")
    assert remedy == " " * 16 + "type: qcli doctor data -p DIR"


@pytest.mark.parametrize(
    ("words", "code"), [(("doctor", "trch"), 2), (("doctor", "clock", "--timeout", "0"), 2)]
)
def test_usage(words, code):
    assert invoke(*words).code == code


def test_a_broken_check_says_how_to_see_more(tmp_path):
    plugin = tmp_path / "qcli_ill.py"
    plugin.write_text(
        "import qcli\n"
        "def check(request): raise ValueError('ill')\n"
        "@qcli.hookimpl\n"
        "def qcli_register_health_checks(): return [qcli.HealthCheckEntry('ill', 'x', check)]\n"
    )
    plain = invoke("doctor", "ill", "--plugin", plugin)
    assert (plain.code, "Traceback" in plain.stdout) == (1, False)
    assert "error    ill  the check broke: ValueError: ill" in plain.stdout
    assert "type: qcli doctor ill --debug" in plain.stdout
    assert "in check" in invoke("doctor", "ill", "--plugin", plugin, "--debug").stdout


@pytest.mark.parametrize(
    "code", ["HealthCheckEntry('X', 'x', print)", "HealthCheckEntry('x', 1, print)"]
)
def test_malformed_entries_are_the_plugins_fault(tmp_path, code):
    plugin = tmp_path / "qcli_odd.py"
    plugin.write_text(
        f"import qcli\n@qcli.hookimpl\ndef qcli_register_health_checks(): return [qcli.{code}]\n"
    )
    outcome = invoke("list", "plugins", "--plugin", plugin)
    assert "ValueError" in outcome.stderr
