"""Trackers hear every epoch once, and change nothing."""

import json
import os
import random
import signal
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest
import torch
from accelerate import tracking as known
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from qcli.cli import cli
from qcli.errors import Interrupted, MissingTool, UsageError
from qcli.training.tracking import Tracking, list_scalars, require_trackers

CPU = torch.device("cpu")
ROW = {
    "epoch": 3,
    "lr": 0.5,
    "temperature": None,
    "train_loss": 0.25,
    "val_top1": 0.75,
    "images_per_second": 10.0,
    "health": {"fc.weight": {"levels": 4, "count": 9, "flips": 0.125, "step": 0.5}},
    "levels": {"fc.weight": [0.0, 1.0]},
}
RECIPE = {
    "name": "small",
    # It drops at random: what a tracker draws would show.
    "architecture": {"name": "lenet_n2d2"},
    "dataset": {"name": "digits"},
    "epochs": 2,
    "batch_size": 512,
    "lr": 0.003,
    "optimizer": {"name": "adam"},
}


class Recorder(known.GeneralTracker):
    """Keeps what it hears; draws numbers as it pleases, and ends the process where it is told."""

    name = "recorder"
    requires_logging_directory = False
    heard: ClassVar[list] = []
    stops_after: ClassVar[int | None] = None

    def __init__(self, run_name):
        super().__init__()

    @property
    def tracker(self):
        return None

    def start(self):
        self.draw()
        self.heard.append("start")

    def store_init_configuration(self, values):
        self.draw()
        self.heard.append(values)

    def log(self, values, step, **kwargs):
        self.draw()
        self.heard.append((step, values["train/loss"]))
        if step == self.stops_after:
            os.kill(os.getpid(), signal.SIGTERM)

    def finish(self):
        self.heard.append("finish")

    @staticmethod
    def draw():
        random.seed(7)
        np.random.default_rng()
        np.random.seed(7)
        torch.manual_seed(7)


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setitem(known.LOGGER_TYPE_TO_CLASS, "recorder", Recorder)
    monkeypatch.setattr(Recorder, "heard", [])
    monkeypatch.setattr(Recorder, "stops_after", None)
    return Recorder


def train(folder, *arguments):
    (folder / "small.json").write_text(json.dumps(RECIPE))
    recipes = () if "--resume" in arguments else ("--train-json", str(folder / "small.json"))
    options = ("--cpu", "--quant-json", "dorefa-w2a32")[: 3 if recipes else 1]
    return CliRunner().invoke(cli, ["train", *options, *recipes, *map(str, arguments)])


def losses(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(row["epoch"], row["train_loss"]) for row in rows]


def scalars_of(run):
    events = EventAccumulator(str(run / "trackers" / "qcli"))
    events.Reload()
    return {
        tag: [(each.step, each.value) for each in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_a_run_is_the_same_with_trackers_and_goes_on(tmp_path, recorder):
    done = train(tmp_path, "-o", tmp_path / "plain")
    assert done.exit_code == 0, done.exception
    recorder.stops_after = 1
    trackers = ("--tracker", "recorder", "--tensorboard")
    done = train(tmp_path, *trackers, "-o", tmp_path / "run")
    assert isinstance(done.exception, Interrupted), done.exception
    assert recorder.heard[-1] == "finish"
    settings = recorder.heard[1]
    assert settings["training/optimizer/name"] == "adam"
    assert settings["quantization/default/weight/bits"] == 2
    del recorder.heard[:]
    recorder.stops_after = None
    done = train(tmp_path, "--resume", tmp_path / "run", *trackers)
    assert done.exit_code == 0, done.exception
    assert losses(tmp_path / "run") == losses(tmp_path / "plain")
    # What goes on is told from its beginning.
    heard = [each for each in recorder.heard if isinstance(each, tuple)]
    assert heard == losses(tmp_path / "plain")
    found = scalars_of(tmp_path / "run")
    assert found["train/loss"] == [(epoch, pytest.approx(x)) for epoch, x in heard]
    assert {"val/top1", "val/top5", "lr", "images_per_second", "flips/conv2.weight"} <= set(found)
    assert {step for values in found.values() for step, _ in values} == {1, 2}
    assert len(list((tmp_path / "run" / "trackers").rglob("hparams.yml"))) == 1


def test_an_epoch_that_is_trained_again_is_not_doubled(tmp_path, setting):
    again = ROW | {"epoch": 4, "train_loss": 0.5}
    for rows, heard in (((), (ROW, again | {"train_loss": 9.0})), ((ROW,), (again,))):
        with Tracking(pytest.fail, CPU) as tracking:
            tracking.start(["tensorboard", "tensorboard"], tmp_path, setting, rows)
            for row in heard:
                tracking.tell(row)
    assert scalars_of(tmp_path)["train/loss"] == [(3, 0.25), (4, 0.5)]


@pytest.fixture
def setting():
    """What is told of a run beside its epochs."""
    from qcli.catalog.load import load_catalog
    from qcli.recipe.setting import Request, resolve_setting

    return resolve_setting(Request(train_json="lenet5-digits-20ep"), load_catalog())


@pytest.mark.parametrize("where", ["start", "store_init_configuration", "log", "finish"])
def test_a_tracker_that_fails_is_told_of_and_left_alone(tmp_path, setting, recorder, where):
    class Broken(Recorder):
        pass

    def fail(*arguments, **more):
        raise OSError("no network\nat all")

    setattr(Broken, where, fail)
    known.LOGGER_TYPE_TO_CLASS["broken"] = Broken
    told = []
    try:
        with Tracking(told.append, CPU) as tracking:
            tracking.start(["broken", "recorder"], tmp_path, setting, [])
            tracking.tell(ROW)
            tracking.tell(ROW | {"epoch": 4})
    finally:
        del known.LOGGER_TYPE_TO_CLASS["broken"]
    assert told == ["tracker broken failed and hears no more of this run: no network at all"]
    assert (3, 0.25) in recorder.heard
    assert (4, 0.25) in recorder.heard


def test_numbers_are_grouped():
    assert list_scalars(ROW) == {
        "lr": 0.5,
        "train/loss": 0.25,
        "val/top1": 0.75,
        "images_per_second": 10.0,
        "flips/fc.weight": 0.125,
        "step/fc.weight": 0.5,
    }


def test_what_is_missing_is_said_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("qcli.training.tracking.get_available_trackers", list)
    with pytest.raises(MissingTool, match=r"^wandb is not installed: pip install wandb$"):
        require_trackers(["wandb"])
    with pytest.raises(UsageError, match=r'^--tracker: found "wandbb", allowed: aim, '):
        require_trackers(["wandbb"])
    done = train(tmp_path, "--tensorboard", "-o", tmp_path / "run")
    assert str(done.exception) == "tensorboard is not installed: pip install 'qcli[tensorboard]'"
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_not_tracked_writes_nothing_for_it(tmp_path, setting):
    with Tracking(pytest.fail, CPU) as tracking:
        tracking.start([], tmp_path, setting, [ROW])
        tracking.tell(ROW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_of_several_processes_the_main_one_tells(tmp_path):
    (tmp_path / "small.json").write_text(json.dumps(RECIPE | {"epochs": 1}))
    launch = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    train = ("-m", "qcli", "train", "--cpu", "--threads", "1", "--train-json", "./small.json")
    command = [*launch, *train, "--tensorboard", "-o", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "run/trackers/qcli").glob("events*"))) == 1
    assert scalars_of(tmp_path / "run")["train/loss"] == [
        (epoch, pytest.approx(loss)) for epoch, loss in losses(tmp_path / "run")
    ]
