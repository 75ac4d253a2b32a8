"""`qcli runs`, beside a training that is under way."""

import json
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from click.testing import CliRunner

from qcli.cli import cli
from qcli.training.owner import Owner

RUN = {
    **{"status": "failed", "num_classes": 10, "data_root": None, "plugins": []},
    **{"threads": 1, "cpu": True, "num_processes": 1, "versions": {}, "recipes_sha256": ""},
}


def invoke(*arguments):
    return CliRunner().invoke(cli, ["runs", *map(str, arguments)])


def start(*arguments, **options):
    command = [sys.executable, "-m", "qcli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


@pytest.fixture
def failed_run(tmp_path):
    path = tmp_path / "campaign" / "seed0"
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps({**RUN, "error": "the loss is nan"}))
    (path / "training.json").write_text('{"epochs": 4}')
    return path


def test_states_are_filtered(failed_run, tmp_path):
    assert "failed" in invoke(tmp_path).stdout
    assert "the loss is nan" in invoke("list", tmp_path).stderr
    assert len(json.loads(invoke(tmp_path, "--state", "failed", "--json").stdout)["runs"]) == 1
    none = invoke(tmp_path, "--state", "running", "--state", "died")
    assert (none.exit_code, none.stdout) == (0, "")
    assert none.stderr == "1 runs, none of them running or died\n"


def test_no_runs_yet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert invoke().stderr == (
        "no run in runs; name another folder, as in qcli runs ., or make one: qcli train\n"
    )
    assert json.loads(invoke("--json").stdout) == {"schema_version": 1, "runs": []}


@pytest.mark.parametrize("words", [["nowhere"], ["show", "nowhere"], ["watch", "nowhere"]])
def test_what_is_not_there(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["runs", *words])
    assert "nowhere does not exist" in str(done.exception)
    assert done.exception.exit_code == 2


def test_watching_nothing(failed_run, tmp_path):
    assert "no run below" in str(invoke("watch", tmp_path).exception)
    done = invoke("watch", failed_run)
    assert "failed  epoch 0 of 4  the loss is nan" in done.stdout
    assert done.exception.exit_code == 1


def test_show(failed_run):
    assert "the loss is nan" in invoke("show", failed_run).stdout
    assert json.loads(invoke("show", failed_run, "--json").stdout)["runs"][0]["state"] == "failed"


def test_no_torch(tmp_path):
    code = "import sys; from qcli.cli import cli; cli(['runs', '.'], standalone_mode=False); "
    code += "assert not {'torch', 'accelerate', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_live_run_is_watched_until_it_is_killed(tmp_path):
    recipes = ("-d", "synthetic", "--train-json", "lenet5-digits-20ep")
    images = ("--set", "dataset.train_images=128", "--set", "dataset.test_images=32")
    training = start(
        "train", *recipes, *images, "--cpu", "--epochs", 100_000, "-o", "run", cwd=tmp_path
    )
    try:
        wait_for((tmp_path / "run" / "progress.json").exists)
        (run,) = json.loads(invoke(tmp_path, "--json").stdout)["runs"]
        assert (run["state"], run["total_epochs"]) == ("running", 100_000)
        watching = start("runs", "watch", tmp_path, cwd=tmp_path)
        lines = [watching.stdout.readline() for _ in range(2)]
        training.kill()
        training.communicate()
        out, err = watching.communicate(timeout=300)
    finally:
        training.kill()
    assert all(b"run  running  epoch " in line for line in lines)
    assert b"  died  " in out
    assert watching.returncode == 1
    assert b"Traceback" not in err
    assert b"died: process" in err
    (run,) = json.loads(invoke(tmp_path, "--json").stdout)["runs"]
    assert run["state"] == "died"


def test_ctrl_c_ends_the_watching_and_nothing_else(tmp_path):
    """Of a run that this process seems to train."""
    live = {**RUN, "status": "running", "process": Owner.this_process().to_json()}
    (tmp_path / "run.json").write_text(json.dumps(live))
    (tmp_path / "training.json").write_text('{"epochs": 4}')
    # A shell's background job ignores Ctrl-C, and so would what these tests start.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    watching = start("runs", "watch", tmp_path, cwd=tmp_path, preexec_fn=heed)
    assert b"  running  epoch 0 of 4" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=300)
    assert (watching.returncode, err) == (130, b"no longer watching; the run goes on\n")


def test_runs_that_can_go_on(failed_run, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("qcli.reporting.next_steps.say_next", said.append)
    record = {**RUN, "status": "interrupted", "error": "signal 2"}
    (failed_run / "run.json").write_text(json.dumps(record))
    invoke(tmp_path)
    assert said == [[]]
    (failed_run / "checkpoint").mkdir()
    (failed_run / "checkpoint" / "position.json").write_text("{}")
    invoke(tmp_path)
    assert said[1] == [f"qcli train --resume {failed_run}"]
