"""What is no start of a run is never taken for one."""

import os

import pytest

from qcli.errors import RunError, UsageError
from qcli.training.false_start import is_false_start, require_begun
from qcli.training.new_run import claim, require_new
from qcli.training.run_directory import RunDirectory

STARTED = [".lock", "training.json", ".plan.json.new", "checkpoint.new/position.json"]


def fill(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("old")


@pytest.mark.parametrize("names", [[], [".lock"], STARTED])
def test_a_start_that_was_stopped_gives_its_folder_to_the_next(tmp_path, names):
    fill(tmp_path, names)
    assert is_false_start(tmp_path)
    with pytest.raises(RunError, match="give the command that started it again"):
        require_begun(tmp_path)
    run = RunDirectory.create(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [".lock"]
    with pytest.raises(RunError, match="in use by another process, which starts it"):
        require_begun(tmp_path)
    run.release()


@pytest.mark.parametrize(
    "name", ["thesis.tex", ".hidden", "checkpoint/position.json", "checkpoint.old/model.bin"]
)
def test_anything_else_is_never_touched(tmp_path, name):
    fill(tmp_path, [*STARTED, name])
    require_begun(tmp_path)
    with pytest.raises(UsageError, match="exists and is never overwritten"):
        RunDirectory.create(tmp_path)
    assert all((tmp_path / each).read_text() == "old" for each in [*STARTED, name])


def test_without_a_lock_it_is_no_run_of_ours(tmp_path):
    fill(tmp_path, ["log.txt"])
    assert not is_false_start(tmp_path)


def test_a_link_is_not_followed(tmp_path):
    fill(tmp_path / "real", STARTED)
    (tmp_path / "link").symlink_to("real")
    assert not is_false_start(tmp_path / "link")
    (tmp_path / "real" / "log.txt").symlink_to("training.json")
    assert not is_false_start(tmp_path / "real")


def test_a_run_that_was_finished_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    """Another process makes a whole run between the look at the folder and its lock."""
    look = require_new
    looks = []

    def look_and_lose(path):
        look(path)
        looks.append(path)
        if len(looks) == 1:
            fill(path, ["result.json"])

    monkeypatch.setattr("qcli.training.run_directory.require_new", look_and_lose)
    with pytest.raises(UsageError, match="never overwritten"):
        RunDirectory.create(tmp_path)
    assert (tmp_path / "result.json").read_text() == "old"
    monkeypatch.undo()
    (tmp_path / "result.json").unlink()
    RunDirectory.create(tmp_path).release()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_folder_that_is_gone_is_not_written_to(tmp_path, is_replaced):
    path, moved = tmp_path / "run", tmp_path / "moved"
    run = RunDirectory.create(path)
    run.write("plan.json", {"layers": 1})
    os.rename(path, moved)
    other = RunDirectory.create(path) if is_replaced else None
    with pytest.raises(RunError, match="was removed or replaced"):
        run.write("plan.json", {"layers": 2})
    assert path.exists() == is_replaced
    assert not (path / "plan.json").exists()
    for each in (run, other):
        if each:
            each.release()


def test_names_are_claimed_one_after_the_other(tmp_path):
    path = tmp_path / "runs" / "run"
    claimed = [claim(path) for _ in range(3)]
    assert [each.name for each in claimed] == ["run", "run-2", "run-3"]
    assert all(each.is_dir() for each in claimed)
