"""How far a run is within its epoch, written beside the training."""

import json

import pytest

from qcli.training import heartbeat
from qcli.training.background import BackgroundWriter
from qcli.training.heartbeat import Heartbeat
from qcli.training.position import Position


@pytest.fixture
def writer():
    with BackgroundWriter() as writer:
        yield writer


def test_it_beats_now_and_then(tmp_path, writer, monkeypatch):
    clock = iter([100.0, 101.0, 103.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    beat = Heartbeat(tmp_path, writer, 10, beats=True)
    seen = []
    for step in (1, 2, 3):
        beat.beat(Position(epoch=4, step=step, seconds=0.5))
        writer.join()
        seen.append(json.loads((tmp_path / "progress.json").read_text()))
    assert [value["step"] for value in seen] == [1, 1, 3]
    assert seen[0] == {"epoch": 5, "step": 1, "steps": 10, "seconds": 0.5}
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]
    heartbeat.end(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_one_process_beats(tmp_path, writer):
    Heartbeat(tmp_path, writer, 10, beats=False).beat(Position(step=1))
    writer.join()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_it_stops_nothing(tmp_path, writer):
    (tmp_path / ".progress.json.new").mkdir()
    Heartbeat(tmp_path, writer, 10, beats=True).beat(Position(step=1))
    done = []
    writer.submit(lambda: done.append(True))
    writer.join()
    assert done == [True]
