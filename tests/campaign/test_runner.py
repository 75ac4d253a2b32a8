"""Jobs run when their parents are done; what fails takes its children with it and nobody else."""

import json

import pytest
from filelock import FileLock

from qcli.campaign.executor import LocalExecutor
from qcli.campaign.job import Campaign
from qcli.campaign.runner import Runner
from qcli.recipe.experiment import read_table

RESULT = json.dumps({"best": {"top1": 0.9}, "last": {"top1": 0.8}})


class Recorder:
    """Remembers what it hears."""

    def __init__(self):
        self.heard = []

    def reuse(self, job):
        self.heard.append(("reuse", job.row.id))

    def wait(self, job):
        self.heard.append(("wait", job.row.id))

    def begin(self, job, *, resumed):
        self.heard.append(("resume" if resumed else "begin", job.row.id))

    def end(self, job, seconds):
        self.heard.append(("end", job.row.id))

    def fail(self, job, reason):
        self.heard.append(("fail", job.row.id, reason))

    def sum_up(self, images, seconds):
        assert seconds > 0
        self.heard.append(("sum up", images))


class Done:
    def __init__(self, code):
        self.code = code

    def done(self):
        return True

    def result(self):
        return self.code


class FakeExecutor:
    """Finishes each run at once, but those whose command holds a word of `broken`."""

    def __init__(self, room=1, broken=()):
        self.room, self.broken = room, broken
        self.commands, self.stopped = [], False

    def submit(self, command, log):
        self.commands.append(command)
        if any(word in each for each in command for word in self.broken):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("some output\nerror: no such luck\n")
            return Done(2)
        folder = log.with_suffix("")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").write_text(RESULT)
        return Done(0)

    def stop(self):
        self.stopped = True


NAMES = ("lr", "train_loss", "train_top1", "val_loss", "val_top1", "val_top5", "val_seconds")
ROW = {"epoch": 1, **dict.fromkeys(NAMES, 0.5)}


class TrainingExecutor(FakeExecutor):
    """Each run trains on 250 images in an epoch that it adds to what is there."""

    def submit(self, command, log):
        done = super().submit(command, log)
        with (log.with_suffix("") / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(ROW | {"images_per_second": 100.0, "train_seconds": 2.5}) + "\n")
        return done


@pytest.fixture
def run(table, tmp_path):
    """Return a function that runs the jobs of the table."""

    def make(executor, seeds=(0,)):
        campaign = Campaign(tmp_path / "runs", seeds, None, ("--cpu",))
        recorder = Recorder()
        failures = Runner(campaign.jobs(read_table(table).rows), executor, recorder).run()
        return failures, recorder.heard

    return make


def test_children_wait_for_their_parents(run):
    failures, heard = run(FakeExecutor(room=None))
    assert failures == 0
    assert heard.index(("end", "short-float")) < heard.index(("begin", "short-child"))
    assert heard[:2] == [("begin", "short-float"), ("begin", "short-alone")]


def test_images_of_this_campaign_are_summed(run, tmp_path):
    """What a run that goes on had trained on before is not counted."""
    begun = tmp_path / "runs" / "short-alone" / "seed0"
    begun.mkdir(parents=True)
    (begun / "run.json").write_text("{}")
    row = ROW | {"images_per_second": 7.0, "train_seconds": 1.0}
    (begun / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    (begun / "checkpoint").mkdir()
    (begun / "checkpoint" / "position.json").write_text("{}")
    _, heard = run(TrainingExecutor())
    assert heard[-1] == ("sum up", 750)


def test_only_so_many_run_at_once(run):
    _, heard = run(FakeExecutor(room=1))
    assert [each[0] for each in heard] == ["begin", "end"] * 3


def test_a_failure_takes_its_children_and_nobody_else(run):
    failures, heard = run(FakeExecutor(broken=["short-float/seed"]))
    assert failures == 2
    said = {each[1]: each[2] for each in heard if each[0] == "fail"}
    assert said["short-float"].startswith("exit code 2; no such luck; all of it: ")
    assert said["short-child"] == "short-float failed, which it starts from"
    assert ("end", "short-alone") in heard


def test_seeds_have_parents_of_their_own(run):
    failures, heard = run(FakeExecutor(broken=["short-float/seed1"]), seeds=(0, 1))
    assert failures == 2
    assert ("end", "short-child") in heard


def test_what_is_finished_is_used_again(run):
    run(FakeExecutor())
    executor = FakeExecutor()
    failures, heard = run(executor)
    assert (failures, executor.commands) == (0, [])
    assert {each[0] for each in heard} == {"reuse"}


def test_what_was_begun_goes_on(run, tmp_path):
    folder = tmp_path / "runs" / "short-alone" / "seed0"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({}))
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "position.json").touch()
    executor = FakeExecutor()
    _, heard = run(executor)
    assert ("resume", "short-alone") in heard
    command = next(each for each in executor.commands if "--resume" in each)
    assert command[3:] == ["train", "--resume", str(folder), "--cpu"]


@pytest.mark.parametrize(
    "files",
    [
        [".lock"],
        [".lock", "training.json", "plan.json", ".run.json.new"],
        [".lock", "training.json", "run.json", "log.txt", "checkpoint.new/model.safetensors"],
    ],
)
def test_what_was_killed_before_its_first_checkpoint_begins_anew(run, tmp_path, files):
    folder = tmp_path / "runs" / "short-alone" / "seed0"
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    executor = FakeExecutor()
    failures, heard = run(executor)
    assert (failures, ("begin", "short-alone") in heard) == (0, True)
    assert not any("--resume" in command for command in executor.commands)


def test_what_has_a_checkpoint_or_is_no_run_is_left_alone(run, tmp_path):
    begun = tmp_path / "runs" / "short-alone" / "seed0"
    begun.mkdir(parents=True)
    (begun / "run.json").touch()
    (begun / "checkpoint.old").mkdir()
    (begun / "checkpoint.old" / "position.json").touch()
    foreign = tmp_path / "runs" / "short-float" / "seed0"
    foreign.mkdir(parents=True)
    (foreign / "thesis.tex").touch()
    _, heard = run(FakeExecutor())
    assert ("resume", "short-alone") in heard
    assert (foreign / "thesis.tex").exists()


@pytest.mark.parametrize("damage", ["", "{", "{}", '{"best": {}, "last": {"top1": 1}}', "[]"])
def test_a_damaged_result_fails_its_row_alone(run, tmp_path, damage):
    folder = tmp_path / "runs" / "short-alone" / "seed0"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(damage)
    failures, heard = run(FakeExecutor())
    assert failures == 1
    (said,) = [each for each in heard if each[0] == "fail"]
    assert said[1] == "short-alone"
    assert "result.json is damaged" in said[2]
    assert ("end", "short-child") in heard


def test_what_an_engine_raises_fails_its_row_alone(run):
    class Losing(FakeExecutor):
        def submit(self, command, log):
            task = super().submit(command, log)
            if "short-alone" in str(log):
                task.result = lambda: 1 / 0
            return task

    failures, heard = run(Losing(room=None))
    assert failures == 1
    assert ("fail", "short-alone", "division by zero") in heard
    assert ("end", "short-child") in heard


def test_a_row_that_another_campaign_trains_is_waited_for(run, tmp_path):
    folder = tmp_path / "runs" / "short-alone" / "seed0"
    folder.mkdir(parents=True)
    lock = FileLock(folder / ".lock")
    lock.acquire()

    class Releasing(FakeExecutor):
        """The other campaign finishes the row while this one trains another."""

        def submit(self, command, log):
            task = super().submit(command, log)
            if "short-child" in str(log):
                (folder / "result.json").write_text(RESULT)
                lock.release()
            return task

    failures, heard = run(Releasing(room=2))
    assert failures == 0
    assert heard.count(("wait", "short-alone")) == 1
    assert ("reuse", "short-alone") in heard


def test_the_reason_is_that_of_this_attempt(run, tmp_path):
    log = tmp_path / "runs" / "short-alone" / "seed0.log"
    log.parent.mkdir(parents=True)
    log.write_text("error: long ago\n")

    class Silent(FakeExecutor):
        def submit(self, command, log):
            return Done(-9) if "short-alone" in str(log) else super().submit(command, log)

    _, heard = run(Silent())
    assert ("fail", "short-alone", "exit code -9; no output") in heard


def test_an_interruption_stops_the_executor(run):
    class Interrupting(FakeExecutor):
        def submit(self, command, log):
            raise KeyboardInterrupt

    executor = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        run(executor)
    assert executor.stopped


def test_the_local_executor_keeps_what_a_command_prints(tmp_path):
    executor = LocalExecutor(2)
    log = tmp_path / "a" / "b.log"
    first = executor.submit(["sh", "-c", "echo out; echo err >&2; exit 3"], log)
    assert (first.result(), log.read_text()) == (3, "out\nerr\n")
    assert executor.submit(["sh", "-c", "echo again"], log).result() == 0
    assert log.read_text() == "out\nerr\nagain\n"


def test_the_local_executor_ends_what_runs(tmp_path):
    executor = LocalExecutor(1)
    log = tmp_path / "x.log"
    task = executor.submit(["sh", "-c", "echo on; exec sleep 60"], log)
    while not (log.exists() and log.read_text()):
        pass
    executor.stop()
    assert task.result() == -15


def test_a_stopped_executor_starts_nothing(tmp_path):
    executor = LocalExecutor(1)
    executor.stop()
    assert executor._run(["touch", str(tmp_path / "x")], tmp_path / "x.log") == 1
    assert not (tmp_path / "x").exists()


def test_jobs_take_gpus_in_turn(tmp_path):
    executor = LocalExecutor(3, ["4", "7"])
    command = ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES; sleep 0.5"]
    tasks = [executor.submit(command, tmp_path / f"{number}.log") for number in range(3)]
    assert [task.result() for task in tasks] == [0, 0, 0]
    seen = sorted((tmp_path / f"{number}.log").read_text().strip() for number in range(3))
    assert seen == ["4", "4", "7"]
