"""What is said when another process of a run is gone, and where its host has another disk."""

import time
from datetime import timedelta

import pytest

from qcli.errors import RunError
from qcli.training import peers
from qcli.training.peers import is_peer_error, lost_peers_told, patience

CLOSED = "[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4242"
SILENT = "[../gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 600000ms for recv"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CLOSED, "another process has ended, and its message says why, or cannot be reached"),
        (SILENT, "another process has not answered for 10 minutes"),
    ],
)
@pytest.mark.parametrize("is_begun", [False, True])
def test_a_lost_process_is_told_with_what_to_do(tmp_path, text, told, is_begun):
    if is_begun:
        (tmp_path / "checkpoint").mkdir()
        (tmp_path / "checkpoint" / "position.json").touch()
    with pytest.raises(RunError) as error, lost_peers_told(tmp_path, None):
        raise RuntimeError(text)
    go_on = f"go on, with as many processes: qcli train --resume {tmp_path}"
    advice = f"the last checkpoint is kept; {go_on}" if is_begun else "give the same command again"
    assert str(error.value) == f"{told}; {advice}"


def test_other_faults_are_left_alone(tmp_path):
    with pytest.raises(RuntimeError, match="mat1 and mat2"), lost_peers_told(tmp_path, None):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not is_peer_error(RuntimeError("out of memory"))


def test_patience():
    assert patience(None) == timedelta(minutes=10)
    assert patience(0.5) == timedelta(seconds=30)


def test_a_file_of_another_host_is_waited_for(tmp_path, monkeypatch):
    token = tmp_path / "token"
    monkeypatch.setattr(time, "sleep", lambda _: token.write_text("this run"))
    assert peers._is_seen(token, "this run", 60)
    # An old copy of the run on a disk of its own.
    assert not peers._is_seen(token, "another", 0)
