"""What is written beside the training: in order, never half, and heard of where it fails."""

import json
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from qcli.catalog.load import load_catalog
from qcli.errors import Interrupted, RunError
from qcli.recipe.setting import Request, resolve_setting
from qcli.training import checkpoint
from qcli.training.background import BackgroundWriter
from qcli.training.checkpoint import find_checkpoint, save_checkpoint
from qcli.training.loop import Loop
from qcli.training.position import Position
from qcli.training.record import SessionOptions
from qcli.training.session import run_session

LONG_SECONDS = 60


def test_work_is_done_in_order():
    done = []
    with BackgroundWriter() as writer:
        for number in range(20):
            writer.submit(lambda number=number: done.append(number))
        writer.join()
        assert done == list(range(20))
        writer.join()


def test_nothing_follows_a_failure():
    done = []

    def fail():
        raise RunError("the disk is full")

    with BackgroundWriter() as writer:
        writer.submit(fail)
        writer.submit(lambda: done.append("rests on what failed"))
        with pytest.raises(RunError, match="the disk is full"):
            writer.join()
    assert done == []


def test_a_failure_is_heard_of_without_waiting():
    release = threading.Event()

    def fail():
        assert release.wait(LONG_SECONDS)
        raise RunError("the disk is full")

    with BackgroundWriter() as writer:
        writer.submit(fail)
        # It has not failed yet, and nobody waits for it.
        writer.check()
        release.set()
        end = time.monotonic() + LONG_SECONDS
        heard = None
        while heard is None and time.monotonic() < end:
            try:
                writer.check()
            except RunError as error:
                heard = str(error)
        assert heard == "the disk is full"
        writer.check()


def test_a_failure_nobody_waited_for_is_raised_at_the_end():
    def fail():
        raise RunError("the disk is full")

    with pytest.raises(RunError, match="the disk is full"), BackgroundWriter() as writer:
        writer.submit(fail)


def test_what_ended_a_run_is_not_hidden_and_work_is_done():
    done = []

    def fail():
        raise RunError("the disk is full")

    def train():
        with BackgroundWriter() as writer:
            writer.submit(lambda: done.append("saved"))
            writer.submit(fail)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    assert done == ["saved"]


@pytest.fixture
def learner(make_network, make_recipe, learn):
    return learn(make_network(norm=True), make_recipe())


def test_a_slow_disk_does_not_stop_the_next_step(learner, tmp_path, monkeypatch):
    opened = threading.Event()
    sync = checkpoint.sync_to_disk

    def wait(path):
        assert opened.wait(LONG_SECONDS)
        sync(path)

    monkeypatch.setattr(checkpoint, "sync_to_disk", wait)
    weight = learner.network.conv1.weight
    before = weight.detach().clone()
    with BackgroundWriter() as writer:
        save_checkpoint(learner.accelerator, tmp_path, Position(1), {}, writer)
        # The disk has not taken it yet, and training goes on.
        assert not (tmp_path / "checkpoint").exists()
        with torch.no_grad():
            weight.fill_(7)
        opened.set()
        writer.join()
        assert find_checkpoint(tmp_path) == tmp_path / "checkpoint"
    assert checkpoint.load_checkpoint(learner.accelerator, tmp_path) == Position(1)
    assert torch.equal(weight, before)


def test_a_failing_write_surfaces_and_keeps_the_previous_checkpoint(learner, tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    save_checkpoint(learner.accelerator, tmp_path, Position(1))
    monkeypatch.setattr(checkpoint, "sync_to_disk", full)
    with BackgroundWriter() as writer:
        save_checkpoint(learner.accelerator, tmp_path, Position(2), {}, writer)
        with pytest.raises(RunError) as error:
            writer.join()
    assert str(error.value) == (
        f"the checkpoint cannot be written to {tmp_path}: [Errno 28] No space left on device; the "
        f"previous one is kept; make room, then: qcli train --resume {tmp_path}"
    )
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint"}
    assert checkpoint.load_checkpoint(learner.accelerator, tmp_path) == Position(1)


class Listener:
    """Hears nothing."""

    def wants_metrics(self):
        return False

    def __getattr__(self, name):
        return lambda *_, **__: None


def train(path, **changes):
    catalog = load_catalog()
    overrides = ["epochs=3", "batch_size=128", *(f"{key}={each}" for key, each in changes.items())]
    request = Request(train_json="lenet5-digits-20ep", overrides=overrides)
    options = SessionOptions(cpu=True, work_dir=path)
    return run_session(resolve_setting(request, catalog), options, catalog, Listener())


@pytest.mark.parametrize("file", ["last.safetensors", "metrics.jsonl"])
def test_a_run_ends_where_a_file_cannot_be_written(tmp_path, monkeypatch, file):
    path = tmp_path / "run"
    replace = type(path).replace

    def full(source, target):
        if target == path / file:
            raise OSError(28, "No space left on device")
        return replace(source, target)

    monkeypatch.setattr(type(path), "replace", full)
    with pytest.raises(RunError, match=f"{file} cannot be written: .*No space left"):
        train(path)
    # The checkpoint of that epoch rests on the file.
    position = json.loads((path / "checkpoint" / "position.json").read_text())
    assert position["epoch"] == 0
    assert json.loads((path / "run.json").read_text())["status"] == "failed"


def test_an_interrupted_run_has_saved_everything(tmp_path, monkeypatch):
    """The signal comes in the second epoch, while the disk is slow."""
    sync = checkpoint.sync_to_disk

    def slow(path):
        time.sleep(0.02)
        sync(path)

    seen = []
    advance = Loop._say

    def say(loop, position, tally):
        advance(loop, position, tally)
        seen.append(position)
        if position.epoch == 1 and position.step == 3:
            loop.interruption.signal_number = signal.SIGTERM

    monkeypatch.setattr(checkpoint, "sync_to_disk", slow)
    monkeypatch.setattr(Loop, "_say", say)
    with pytest.raises(Interrupted, match="everything is saved"):
        train(tmp_path / "run")
    position = json.loads((tmp_path / "run" / "checkpoint" / "position.json").read_text())
    assert (position["epoch"], position["step"]) == (seen[-1].epoch, seen[-1].step) == (1, 3)
    assert not (tmp_path / "run" / "checkpoint.new").exists()


KILLED_WHILE_WRITING = """
import os, signal, sys
from qcli.cli import main
from qcli.training import checkpoint

move = checkpoint._move_into_place
saves = []

def die(run, position):
    saves.append(position)
    if len(saves) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    move(run, position)

checkpoint._move_into_place = die
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lsq-w4a4", "search-2b"])
def test_a_run_killed_while_it_writes_equals_an_uninterrupted_one(tmp_path, method):
    flags = ["--cpu", "--threads", "1"]
    recipes = ["--train-json", "lenet5-digits-20ep", "--quant-json", method, "--epochs", "4"]
    qcli = [sys.executable, "-m", "qcli", "train", *flags]
    subprocess.run([*qcli, *recipes, "-o", "whole"], cwd=tmp_path, check=True)
    killed = [sys.executable, "-c", KILLED_WHILE_WRITING, "train", *flags, *recipes, "-o", "broken"]
    assert subprocess.run(killed, cwd=tmp_path).returncode == -signal.SIGKILL
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    # Written beside and never moved: the one before it is complete and in place.
    assert (broken / "checkpoint.new" / "model.safetensors").exists()
    position = json.loads((broken / "checkpoint" / "position.json").read_text())
    assert (position["epoch"], position["rows"]) == (1, 1)
    subprocess.run([*qcli, "--resume", "broken"], cwd=tmp_path, check=True)
    for name in ("best.safetensors", "last.safetensors"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    assert not (broken / "checkpoint.new").exists()
