"""`--threads auto`: one thread or torch's own choice, whichever is faster."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner

from qcli.cli.train_verb import command
from qcli.training.batches import MicroBatch
from qcli.training.record import SessionOptions
from qcli.training.rehearsal import Rehearsal, Workload
from qcli.training.session import open_accelerator
from qcli.training.threads import choose_threads, fastest


@pytest.mark.parametrize(
    ("seconds", "count"),
    [
        ({1: 0.5, 2: 0.25}, 2),
        ({1: 0.25, 2: 0.5}, 1),
        ({8: 0.25, 1: 0.25}, 1),
        ({1: 0.25}, 1),
    ],
)
def test_the_fastest_is_taken_and_of_equal_ones_the_fewest(seconds, count):
    assert fastest(seconds) == count


@pytest.fixture
def threads():
    """Let torch choose 2 threads, and have what it had before at the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def rehearse(make_network, make_recipe):
    """Return a function from the seconds of a step, by threads, to a rehearsal that takes them."""

    def make(seconds):
        recipe = make_recipe()
        accelerator = open_accelerator(recipe, SessionOptions(cpu=True, threads="auto"))
        batches = [MicroBatch(torch.rand(4, 3, 6, 6), torch.tensor([0, 1, 2, 3]), 1.0)]
        now = [0.0]
        workload = Workload(accelerator, make_network(), recipe, batches, 100)
        rehearsal = Rehearsal(workload, lambda: now[0])

        def pass_time(*_):
            now[0] += seconds[torch.get_num_threads()]

        rehearsal.network.register_forward_pre_hook(pass_time)
        return rehearsal

    return make


@pytest.mark.parametrize(
    ("seconds", "count", "said"),
    [
        (
            *({1: 0.125, 2: 1.75}, 1),
            "--threads auto: 1; a step takes 125 ms with 1 thread and 1.75e+03 ms with 2",
        ),
        (
            *({1: 0.125, 2: 0.0625}, 2),
            "--threads auto: 2; a step takes 125 ms with 1 thread and 62.5 ms with 2",
        ),
    ],
)
def test_the_faster_number_is_set_and_said(threads, rehearse, seconds, count, said):
    notes = []
    choose_threads(rehearse(seconds), notes.append)
    assert torch.get_num_threads() == count
    assert notes == [said]


def test_where_torch_takes_one_there_is_no_choice(threads, rehearse):
    torch.set_num_threads(1)
    notes = []
    choose_threads(rehearse({}), notes.append)
    assert notes == ["--threads auto: 1; torch would take no more"]


@pytest.mark.parametrize("word", ["AUTO", "many", "0", "1.5", "1025"])
def test_other_words_are_refused(word):
    done = CliRunner().invoke(command, ["--threads", word])
    assert done.exit_code == 2
    assert f'found "{word}", allowed: auto, or a number from 1 to 1024' in done.output


@pytest.mark.slow
def test_a_run_records_its_threads_and_goes_on_with_them(tmp_path):
    """Whichever of 1 and 2 this machine is faster with."""
    qcli = [sys.executable, "-m", "qcli", "train", "--cpu", "--threads", "auto"]
    recipe = ["--train-json", "lenet5-digits-20ep", "--epochs", "2", "-o", "run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}

    def run(*command):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stderr

    said = re.findall(r"^--threads auto: (\d); a step takes", run(*qcli, *recipe), re.MULTILINE)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert said == [str(record["threads"])]
    # Neither of the numbers that would be measured.
    record["threads"] = 3
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    (tmp_path / "run" / "result.json").unlink()
    said = run(*qcli, "--resume", "run")
    assert "--threads auto" not in said
    assert "threads was" not in said
