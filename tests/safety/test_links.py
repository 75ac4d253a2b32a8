"""Links in a given run lead no writing out of it."""

import os
import shutil

import pytest
from invocation import invoke

from qcli.training.checkpoint import write_position
from qcli.training.position import Position

# What going on with a run writes anew, and the names under which files grow.
NAMES = (
    *("metrics.jsonl", "metrics.csv", "best.safetensors", "last.safetensors", "run.json"),
    *(".run.json.new", ".metrics.jsonl.new", ".metrics.csv.new", ".result.json.new"),
    *(".best.safetensors.new", ".last.safetensors.new"),
)
MINE = b"what is mine\n"


@pytest.fixture
def unfinished(given):
    """A given run whose checkpoint says that an epoch is left."""
    write_position(given / "checkpoint", Position())
    return given


def link(name, run, outside, *, dangling=False):
    """Put a link in the place of a file; return the content of what it leads to."""
    file, target = run / name, outside / name
    content = file.read_bytes() if file.exists() else MINE
    file.unlink(missing_ok=True)
    if not dangling or content is not MINE:
        target.write_bytes(content)
    file.symlink_to(target)
    return target.read_bytes() if target.exists() else None


@pytest.mark.parametrize("dangling", [False, True])
def test_files_are_replaced_and_not_written_through_links(unfinished, tmp_path, dangling):
    """All of them at once: each must be replaced for the run to go on."""
    outside = tmp_path / "outside"
    outside.mkdir()
    before = {name: link(name, unfinished, outside, dangling=dangling) for name in NAMES}
    assert invoke("train", "--resume", unfinished).code == 0
    for name, content in before.items():
        assert (outside / name).exists() == (content is not None), name
        assert content is None or (outside / name).read_bytes() == content, name
        assert not (unfinished / name).is_symlink()


@pytest.mark.parametrize("name", [".lock", "log.txt", "result.json"])
@pytest.mark.parametrize("dangling", [False, True])
def test_files_that_grow_are_no_links(given, tmp_path, name, dangling):
    (tmp_path / "outside").mkdir()
    (given / name).unlink(missing_ok=True)
    content = link(name, given, tmp_path / "outside", dangling=dangling)
    outcome = invoke("train", "--resume", given)
    assert outcome.is_clean, outcome.stderr
    assert outcome.code in ({0, 2} if name == "result.json" else {1})
    assert (tmp_path / "outside" / name).exists() == (content is not None)
    assert content is None or (tmp_path / "outside" / name).read_bytes() == content


@pytest.mark.parametrize("name", ["verify.json", ".verify.json.new"])
def test_verify_writes_into_the_run_alone(trained, tmp_path, name):
    shutil.copytree(trained, tmp_path / "run")
    mine = tmp_path / "mine"
    mine.write_bytes(MINE)
    (tmp_path / "run" / name).symlink_to(mine)
    assert invoke("verify", tmp_path / "run", "--format", "packed", "--images", "1").code == 0
    assert mine.read_bytes() == MINE
    assert (tmp_path / "run/verify.json").read_bytes().startswith(b"{")


def test_a_campaign_appends_to_no_link(tmp_path):
    from qcli.campaign.executor import run_logged

    (tmp_path / "log").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic links"):
        run_logged(["true"], tmp_path / "log")
    assert not (tmp_path / "mine").exists()


def test_files_of_a_run_have_the_mode_of_its_folder(trained):
    mask = os.umask(0)
    os.umask(mask)
    files = [file for file in trained.rglob("*") if file.is_file() and file.name != ".lock"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o666 & ~mask}
