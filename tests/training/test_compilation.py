"""`compile: auto`: what is measured, what is chosen, and that measuring changes nothing."""

import copy
import json
import math
import re
import subprocess
import sys
import time

import pytest
import torch

from qcli.catalog.load import load_catalog
from qcli.recipe.setting import Request, resolve_setting
from qcli.training import compilation
from qcli.training.batches import MicroBatch
from qcli.training.compilation import choose, choose_compilation
from qcli.training.record import SessionOptions
from qcli.training.rehearsal import Rehearsal, Workload
from qcli.training.session import open_accelerator, run_session
from qcli.training.tuning import settle


@pytest.mark.parametrize(
    ("eager", "compiled", "compiling", "steps", "pays"),
    [
        (0.5, 0.25, 10.0, 41, True),
        (0.5, 0.25, 10.0, 40, False),
        (0.5, 0.25, 10.0, 39, False),
        (0.5, 0.5, 0.0, 1000, False),
        (0.25, 0.5, 0.0, 1000, False),
        (0.5, 0.25, 0.0, 1, True),
        (0.5, 0.25, 0.0, 0, False),
        (0.5, math.inf, math.inf, 10**9, False),
    ],
)
def test_compiling_must_save_more_than_it_takes(eager, compiled, compiling, steps, pays):
    assert choose(eager, compiled, compiling, steps) is pays


class Clock:
    """Stands still but for what happens at it."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def rehearse(make_network, make_recipe, quantize_by):
    """Return a function from steps and a clock to the rehearsal of a small quantized network."""

    def make(total_steps, clock):
        recipe = make_recipe(compile="auto")
        accelerator = open_accelerator(recipe, SessionOptions(cpu=True))
        torch.manual_seed(0)
        model = quantize_by(
            make_network(norm=True), (3, 6, 6), {"weight": {"quantizer": "lsq", "bits": 4}}
        )
        batches = [MicroBatch(torch.rand(4, 3, 6, 6), torch.tensor([0, 1, 2, 3]), 1.0)]
        return Rehearsal(Workload(accelerator, model, recipe, batches, total_steps), clock)

    return make


def make_compiler(clock, network, *, eager, compiled, compiling):
    """Return a compiler for a clock: what every forward takes is what it is told."""
    network.register_forward_pre_hook(lambda *_: setattr(clock, "seconds", clock.seconds + eager))
    seen = []

    def compile(module):
        def forward(images):
            took = compiled if seen else compiling
            seen.append(took)
            result = module(images)
            # The hook of the network counts here too.
            clock.seconds += took - eager
            return result

        return forward

    return compile, seen


@pytest.mark.parametrize(
    ("compiling", "steps", "chosen", "said"),
    [
        (
            *(100.0, 401, True),
            "compile auto: yes; a step takes 500 ms as it is and 250 ms compiled, which saves "
            "100 s in 401 steps; compiling takes 100 s",
        ),
        (
            *(100.0, 400, False),
            "compile auto: no; a step takes 500 ms as it is and 250 ms compiled, which saves "
            "100 s in 400 steps; compiling takes 100 s",
        ),
    ],
)
def test_a_choice_is_measured_and_said(rehearse, compiling, steps, chosen, said):
    clock, notes = Clock(), []
    rehearsal = rehearse(steps, clock)
    compile, seen = make_compiler(
        clock, rehearsal.network, eager=0.5, compiled=0.25, compiling=compiling
    )
    assert choose_compilation(rehearsal, notes.append, compile) is chosen
    assert notes == [said]
    # One step that compiles, and one in each of 20 rounds.
    assert len(seen) == 21


def test_slow_steps_are_measured_less_often(rehearse):
    clock = Clock()
    rehearsal = rehearse(100, clock)
    compile, seen = make_compiler(clock, rehearsal.network, eager=6.0, compiled=5.0, compiling=10.0)
    assert choose_compilation(rehearsal, [].append, compile)
    # A round takes 12 s: five of them in the minute, after the step that compiles.
    assert len(seen) == 1 + 5


def test_a_short_run_compiles_nothing(rehearse):
    clock, notes = Clock(), []
    rehearsal = rehearse(119, clock)
    compile, seen = make_compiler(clock, rehearsal.network, eager=0.5, compiled=0.25, compiling=1.0)
    assert not choose_compilation(rehearsal, notes.append, compile)
    assert notes == ["compile auto: no; 119 steps take 59.5 s, too short to gain by it"]
    assert seen == []


def test_a_machine_that_cannot_compile_is_told(rehearse):
    clock, notes = Clock(), []
    rehearsal = rehearse(1000, clock)
    make_compiler(clock, rehearsal.network, eager=0.5, compiled=0.25, compiling=1.0)

    def fail(module):
        raise RuntimeError("No working C++ compiler found\nin any place")

    assert not choose_compilation(rehearsal, notes.append, fail)
    assert notes == [
        "compile auto: no; torch.compile does not work here: No working C++ compiler found in any "
        "place"
    ]


def test_a_rehearsal_leaves_the_network_alone(rehearse):
    rehearsal = rehearse(1000, Clock())
    model = rehearsal.workload.model
    before = copy.deepcopy(model.state_dict())
    for _ in range(3):
        rehearsal.step(rehearsal.network)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    # The copy has moved: its norms saw batches.
    assert rehearsal.network.norm1.num_batches_tracked == 3


class Listener:
    """Hears what a session says, and nothing else."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def __getattr__(self, name):
        return lambda *_, **__: None


def train(path, *changes):
    catalog = load_catalog()
    request = Request(
        train_json="lenet5-digits-20ep",
        quant_json="lsq-w4a4",
        overrides=["epochs=1", "batch_size=128", *changes],
    )
    options = SessionOptions(cpu=True, work_dir=path)
    listener = Listener()
    run_session(resolve_setting(request, catalog), options, catalog, listener)
    return listener.notes


def weights(path):
    return (path / "last.safetensors").read_bytes()


@pytest.mark.parametrize(
    "changes",
    [[], ['augment=[{"name": "RandomRotation", "degrees": 10}]', "workers=1"]],
    ids=["in memory", "streamed"],
)
def test_measuring_leaves_a_run_bit_for_bit_what_it_is(tmp_path, monkeypatch, changes):
    def fail(module):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(compilation, "SHORTEST_RUN_SECONDS", 0.0)
    monkeypatch.setattr(torch, "compile", lambda module, dynamic: fail(module))
    train(tmp_path / "plain", *changes)
    notes = train(tmp_path / "auto", "compile=auto", *changes)
    assert "compile auto: no; torch.compile does not work here: no compiler" in notes
    assert weights(tmp_path / "auto") == weights(tmp_path / "plain")
    record = json.loads((tmp_path / "auto" / "run.json").read_text())
    assert record["compiled"] is False


def test_a_chosen_compilation_is_kept_and_used(tmp_path, monkeypatch):
    compiled = []

    def remember(module, dynamic):
        compiled.append(module)
        return module

    monkeypatch.setattr(compilation, "SHORTEST_RUN_SECONDS", 0.0)
    monkeypatch.setattr(compilation, "choose", lambda *_, **__: True)
    monkeypatch.setattr(torch, "compile", remember)
    train(tmp_path / "plain")
    train(tmp_path / "auto", "compile=auto")
    # The copy is measured, the network trained.
    assert len(compiled) == 2
    assert compiled[0] is not compiled[1]
    assert weights(tmp_path / "auto") == weights(tmp_path / "plain")
    record = json.loads((tmp_path / "auto" / "run.json").read_text())
    assert record["compiled"] is True
    effective = json.loads((tmp_path / "auto" / "training.json").read_text())
    assert effective["compile"] == "auto"


RECORD = {
    **{"status": "interrupted", "num_classes": 4, "data_root": None, "plugins": [], "threads": 1},
    **{"cpu": True, "num_processes": 1, "versions": {}, "recipes_sha256": "0"},
}


@pytest.mark.parametrize("compiled", [True, False])
def test_a_run_that_goes_on_takes_what_it_chose(make_recipe, tmp_path, compiled):
    record = RECORD | {"compiled": compiled}
    (tmp_path / "run.json").write_text(json.dumps(record))
    options = SessionOptions(resume=tmp_path)
    # Without a network and batches nothing can be measured.
    recipe = settle(None, None, make_recipe(compile="auto"), None, options, pytest.fail)
    assert recipe.compile is compiled


@pytest.mark.parametrize("chosen", [True, False])
def test_a_recipe_that_says_it_is_left_alone(make_recipe, chosen):
    recipe = make_recipe(compile=chosen)
    assert settle(None, None, recipe, None, SessionOptions(), pytest.fail) is recipe


@pytest.mark.slow
def test_a_compiled_run_goes_on_bit_for_bit(tmp_path):
    """The last batch of an epoch is smaller: what it compiles must not serve the others."""
    qcli = [sys.executable, "-m", "qcli", "train", "--cpu", "--threads", "1"]
    fields = {"compile": "true", "epochs": 3, "batch_size": 50, "drop_last": "false"}
    sets = [word for key, value in fields.items() for word in ("--set", f"{key}={value}")]
    recipes = ["--train-json", "lenet5-digits-20ep", "--quant-json", "lsq-w4a4", *sets]
    for name in ("whole", "broken"):
        process = subprocess.Popen([*qcli, *recipes, "-o", name], cwd=tmp_path)
        if name == "broken":
            while not (tmp_path / name / "last.safetensors").exists():
                assert process.poll() is None
                time.sleep(0.001)
            process.terminate()
        assert process.wait() == (143 if name == "broken" else 0)
    subprocess.run([*qcli, "--resume", "broken"], cwd=tmp_path, check=True)
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings("default")
def test_a_gpu_is_measured(make_network, make_recipe, quantize_by, monkeypatch):
    monkeypatch.setattr(compilation, "SHORTEST_RUN_SECONDS", 0.0)
    recipe = make_recipe(compile="auto")
    accelerator = open_accelerator(recipe, SessionOptions())
    slots = {"weight": {"quantizer": "lsq", "bits": 4}}
    model = quantize_by(make_network(norm=True), (3, 6, 6), slots).to(accelerator.device)
    images, labels = torch.rand(4, 3, 6, 6), torch.tensor([0, 1, 2, 3])
    batch = MicroBatch(images.to(accelerator.device), labels.to(accelerator.device))
    notes = []
    choose_compilation(Rehearsal(Workload(accelerator, model, recipe, [batch], 100)), notes.append)
    assert re.match(r"compile auto: (yes|no); a step takes .* compiling takes ", notes[0])
