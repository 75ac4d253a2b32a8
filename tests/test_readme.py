"""What README.md shows works as it stands."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import qcli
from qcli.cli import VERBS, cli

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")
CONSOLES = re.findall(r"^```console\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [line[2:] for block in CONSOLES for line in block.splitlines() if line[:2] == "$ "]
RECIPE = re.search(r"^```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[1]
PYTHON = re.search(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[1]
EXAMPLE = next(block for block in CONSOLES if "mixed.json" in block)


def run(command, folder):
    words = shlex.split(command)
    assert words[0] == "qcli"
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown(command):
    """Return what README prints below a command."""
    return EXAMPLE.partition(f"$ {command}\n")[2].partition("\n$ ")[0].strip()


def without_numbers(text):
    # A slow machine takes minutes where the text shows seconds.
    text = re.sub(r"\d+ min \d+ s", "N s", text)
    return re.sub(r"[\d.,]+(e[-+]\d+)?", "N", text)


def test_it_opens_with_exactly_two_commands():
    block = re.search(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[1]
    assert [line.partition("#")[0].strip() for line in block.splitlines()] == [
        "make demo",
        "make test",
    ]
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "test", "test-slow"} <= set(targets)


def test_every_verb_is_in_the_table():
    assert re.findall(r"^\| `qcli (\w+)", TEXT, re.MULTILINE) == list(VERBS)


def dry_run(command, folder, monkeypatch):
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(cli, [*shlex.split(command)[1:], "--dry-run"])
    assert done.exit_code == 0, done.output
    return done


def commands_of(*verbs):
    return [each for each in COMMANDS if each.split()[1] in verbs]


@pytest.mark.parametrize("command", [each for each in commands_of("train") if "DATA" in each])
def test_training_that_needs_data_is_understood(command, tmp_path, monkeypatch):
    done = dry_run(command, tmp_path, monkeypatch)
    assert "18 of 20 layers have quantized weights" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("command", commands_of("reproduce", "compare"))
def test_campaigns_are_understood(command, tmp_path, monkeypatch):
    done = dry_run(command, tmp_path, monkeypatch)
    rows = {"'seed001-lenet5-mnist-*'": 24, "--grid": 6, "seed002-resnet20-cifar10-1b": 1}
    (wanted,) = [count for word, count in rows.items() if word in command]
    assert f"{wanted} runs to do" in done.stderr


@pytest.mark.parametrize("command", commands_of("list", "show"))
def test_experiments_are_told(command):
    done = CliRunner().invoke(cli, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    assert "seed002-resnet20-cifar10-1b" in done.stdout
    assert "90.70" in done.stdout or "0.907" in done.stdout


@pytest.mark.slow
def test_deployment_prints_what_is_shown(tmp_path):
    block = next(each for each in CONSOLES if "qcli verify" in each)
    commands = [each for each in COMMANDS if each in block]
    printed = {command: run(command, tmp_path) for command in commands}
    verify = next(each for each in commands if "verify" in each)
    expected = block.partition(f"$ {verify}\n")[2].partition("\n$ ")[0]
    told = [" ".join(line.split()) for line in printed[verify].strip().splitlines()]
    assert without_numbers("\n".join(told)) == without_numbers(
        "\n".join(" ".join(line.split()) for line in expected.splitlines())
    )
    assert (tmp_path / "small.qcli").stat().st_size < 320_000
    assert (tmp_path / "small_c" / "main.c").exists()


def test_the_example_prints_what_is_shown(tmp_path):
    (tmp_path / "mixed.json").write_text(RECIPE)
    assert json.loads(RECIPE)["name"] == "mixed"
    check, plan, train, evaluate = [each for each in COMMANDS if each in EXAMPLE]
    assert run(check, tmp_path).strip() == shown(check)
    table = [" ".join(line.split()) for line in run(plan, tmp_path).splitlines()]
    for line in shown(plan).splitlines():
        assert " ".join(line.split()) in table
    printed = run(train, tmp_path)
    assert without_numbers(printed.strip()) == without_numbers(shown(train))
    assert float(re.search(r"top-1 ([\d.]+)", printed)[1]) > 97
    assert without_numbers(run(evaluate, tmp_path).strip()) == without_numbers(shown(evaluate))
    done = subprocess.run(
        [sys.executable, "-c", PYTHON], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "tensor([-1.0000, -0.5000,  0.5000,  1.0000])"


def test_the_line_of_python_quantizes_a_network():
    line = re.search(r"`(qcli\.quantize\(.*?)`", TEXT)[1]
    net = torch.nn.Sequential(
        *(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3), torch.nn.ReLU()),
        *(torch.nn.Flatten(), torch.nn.Linear(4 * 28 * 28, 2)),
    )
    model = eval(line, {"qcli": qcli, "net": net})
    assert len(qcli.bake(model)["2.weight"].unique()) <= 16


@pytest.mark.slow
def test_several_processes(tmp_path):
    command = next(each for each in COMMANDS if each.startswith("accelerate launch"))
    words = shlex.split(command)
    launcher = [sys.executable, "-m", "accelerate.commands.launch"]
    launcher += ["--main_process_port", "0", *words[2:]]
    done = subprocess.run(
        [*launcher, "--epochs", "2", "-o", "run"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["num_processes"] == 2


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([\w./-]+)\)", TEXT):
        assert (ROOT / target).exists(), target
