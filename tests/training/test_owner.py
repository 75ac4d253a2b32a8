"""Whether the process that writes a run still lives."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from qcli.training.owner import Owner


@pytest.fixture
def child():
    """A process that waits until its input is closed, and the Owner that it says it is."""
    code = (
        "import sys, json; from qcli.training.owner import Owner; "
        "print(json.dumps(Owner.this_process().to_json()), flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.stdin.close()
    process.wait()
    process.stdout.close()


def owner_of(process):
    return Owner.from_json(json.loads(process.stdout.readline()))


def test_a_process_lives_until_it_has_ended(child):
    owner = owner_of(child)
    assert owner.id == child.pid
    assert owner.is_alive() is True
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    # Its parent has not asked after it: the number is still there.
    assert owner.is_alive() is False
    child.wait()
    assert owner.is_alive() is False


@pytest.mark.parametrize(
    ("changes", "alive"),
    [
        ({"started": "1"}, False),
        ({"boot": "another"}, False),
        ({"host": "another"}, None),
        ({"namespace": "pid:[1]"}, None),
        ({"started": None}, None),
        ({"id": 2**22 + 1}, False),
    ],
    ids=str,
)
def test_another_process_is_not_taken_for_it(changes, alive):
    here = Owner.this_process()
    assert here.is_alive() is True
    assert replace(here, **changes).is_alive() is alive


@pytest.mark.parametrize("value", [None, 7, {}, {"id": 1}], ids=str)
def test_what_names_no_process(value):
    assert Owner.from_json(value) is None


@pytest.mark.parametrize(("name", "value"), [("id", -1), ("id", True), ("host", 1), ("boot", 2)])
def test_what_names_a_process_wrongly(name, value):
    assert Owner.from_json({**Owner.this_process().to_json(), name: value}) is None


def test_without_proc_the_system_is_asked(monkeypatch, tmp_path):
    monkeypatch.setattr("qcli.training.owner.PROC", tmp_path)
    owner = Owner.this_process()
    assert owner.boot is None
    # Where there is no `ps` either, nothing is claimed.
    assert owner.is_alive() is (True if owner.started else None)
    # Nor do its words depend on where and in which language somebody looks.
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert Owner.this_process() == owner
    if owner.started:
        assert replace(owner, started="Thu Jan  1 00:00:00 1970").is_alive() is False
