"""Checkpoints survive full disks, crashes between two names, and say when they are damaged."""

import json
import subprocess
import sys

import pytest
import torch
from accelerate import Accelerator

from qcli.errors import RunError
from qcli.training.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from qcli.training.position import Position
from qcli.training.run_directory import RunDirectory


@pytest.fixture
def prepared():
    """An accelerator that knows a small model and its optimizer."""
    accelerator = Accelerator(cpu=True)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    yield accelerator, *accelerator.prepare(model, optimizer)
    accelerator.free_memory()


def fill(model, value):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


NAMES = ("lr", "train_loss", "train_top1", "val_loss", "val_top1", "val_top5")
TIMES = ("train_seconds", "val_seconds", "images_per_second")
ROW = {"epoch": 2, **dict.fromkeys((*NAMES, *TIMES), 0.5)}


def test_a_checkpoint_gives_everything_back(prepared, tmp_path):
    accelerator, model, _ = prepared
    fill(model, 3.0)
    position = Position(2, 7, (1.5, 2.0, 3.0, 4.0), 1.25, ROW, 2)
    save_checkpoint(accelerator, tmp_path, position)
    fill(model, 0.0)
    assert load_checkpoint(accelerator, tmp_path) == position
    assert model.weight.unique().tolist() == [3.0]
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint"}


def test_what_an_interrupted_save_left_is_removed(prepared, tmp_path):
    accelerator, _, _ = prepared
    save_checkpoint(accelerator, tmp_path, Position(1))
    for name in ("checkpoint.old", "checkpoint.new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
    assert load_checkpoint(accelerator, tmp_path) == Position(1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("crash_after", [0, 1])
def test_a_crash_between_two_names_leaves_a_complete_checkpoint(
    prepared, tmp_path, monkeypatch, crash_after
):
    accelerator, model, _ = prepared
    fill(model, 1.0)
    save_checkpoint(accelerator, tmp_path, Position(1))
    fill(model, 2.0)
    renamed = []
    rename = type(tmp_path).rename

    def crash(path, target):
        if len(renamed) == crash_after:
            raise KeyboardInterrupt
        renamed.append(target)
        return rename(path, target)

    monkeypatch.setattr(type(tmp_path), "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(accelerator, tmp_path, Position(2))
    monkeypatch.undo()
    assert load_checkpoint(accelerator, tmp_path) == Position(1)
    assert model.weight.unique().tolist() == [1.0]
    save_checkpoint(accelerator, tmp_path, Position(3))
    assert load_checkpoint(accelerator, tmp_path) == Position(3)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "position.json"])
@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_damage_is_named(prepared, tmp_path, name, damage):
    accelerator, _, _ = prepared
    save_checkpoint(accelerator, tmp_path, Position(1))
    file = tmp_path / "checkpoint" / name
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] if damage == "cut" else b"\0" * len(content))
    with pytest.raises(RunError, match="damaged"):
        load_checkpoint(accelerator, tmp_path)


def test_no_checkpoint_is_said(tmp_path):
    with pytest.raises(RunError, match="has no complete checkpoint"):
        find_checkpoint(tmp_path)


def test_a_checkpoint_of_pickles_is_refused_and_not_read(prepared, tmp_path):
    accelerator, _, _ = prepared
    save_checkpoint(accelerator, tmp_path, Position(1))
    (tmp_path / "checkpoint/optimizer.safetensors").rename(tmp_path / "checkpoint/optimizer.bin")
    with pytest.raises(RunError, match=f"pickles.*--init-from {tmp_path}"):
        load_checkpoint(accelerator, tmp_path)


@pytest.mark.parametrize("name", ["checkpoint.new", "checkpoint.old"])
def test_links_in_the_place_of_a_checkpoint_lead_nowhere(prepared, tmp_path, name):
    accelerator, _, _ = prepared
    elsewhere, run = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.mkdir()
    (elsewhere / "mine").touch()
    run.mkdir()
    save_checkpoint(accelerator, run, Position(1))
    (run / name).symlink_to(elsewhere)
    save_checkpoint(accelerator, run, Position(2))
    assert load_checkpoint(accelerator, run) == Position(2)
    assert [path.name for path in elsewhere.iterdir()] == ["mine"]
    assert [path.name for path in run.iterdir()] == ["checkpoint"]


def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path):
    """The disk takes no file beyond some kilobytes, which fails where a full one would."""
    script = """
import resource, signal, sys, torch
from accelerate import Accelerator
from pathlib import Path
from qcli.errors import RunError
from qcli.training.checkpoint import save_checkpoint
from qcli.training.position import Position
accelerator = Accelerator(cpu=True)
model = torch.nn.Linear(512, 512)
model, _ = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
run = Path(sys.argv[1])
save_checkpoint(accelerator, run, Position(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    save_checkpoint(accelerator, run, Position(2))
except RunError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True
    )
    assert "cannot be written" in done.stdout, done.stderr
    assert "the previous one is kept" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint"}
    position = json.loads((tmp_path / "checkpoint" / "position.json").read_text())
    assert position["epoch"] == 1


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    run = RunDirectory(tmp_path)
    run.write("any.json", {"layers": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="No space left"):
        run.write("any.json", {"layers": 2})
    monkeypatch.undo()
    assert run.read("any.json") == {"layers": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["any.json"]
