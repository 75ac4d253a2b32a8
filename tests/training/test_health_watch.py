"""A run says once what is sick in which layer, stops where it should, and is changed by nothing."""

import json
import subprocess
import sys

import pytest
import torch

from qcli.errors import RunError
from qcli.quantization.calibration import calibrate
from qcli.quantization.finding import Finding
from qcli.quantization.surgery import quantizers
from qcli.reporting.console import TrainingReport
from qcli.training.checkpoint import load_codes, save_checkpoint
from qcli.training.evaluation import evaluating
from qcli.training.position import Position
from qcli.training.watch import Watch, make_watch

RECIPE = {
    "name": "watched",
    "architecture": {"name": "lenet5_caffe"},
    "dataset": {"name": "digits"},
    "epochs": 2,
    "batch_size": 64,
    "lr": {"kind": "cosine", "start": 0.003},
    "optimizer": {"name": "adam"},
}
# A step too small for the weights of its layer, and not learned, so that nothing heals it.
TINY = {"quantizer": "lsq", "bits": 4, "initial_step": 1e-7, "learned": False}
HEALTHY = {"weight": {"quantizer": "lsq"}, "input": {"quantizer": "lsq", "signed": False}}
SLOTS = {"conv2.weight", "conv2.input", "fc1.weight", "fc1.input"}
IMAGES = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0)).abs()
# It opens a port, the same one each time: tests that launch share a worker.
TOGETHER = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def train(folder, *arguments, launcher=(), code=0):
    command = [sys.executable, *launcher, "-m", "qcli", "train", "--cpu", "--threads", "1"]
    done = subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


def recipes(folder, default, layers=(), **changes):
    quantization = {"name": "q", "default": default, "layers": list(layers)}
    (folder / "quantization.json").write_text(json.dumps(quantization))
    (folder / "training.json").write_text(json.dumps({**RECIPE, **changes}))
    return "--train-json", "./training.json", "--quant-json", "./quantization.json"


def sick(folder, **changes):
    return recipes(folder, HEALTHY, [{"match": "fc1", "weight": TINY}], **changes)


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def findings(run):
    return json.loads((run / "result.json").read_text())["health"]


@pytest.fixture(scope="module")
def warned(tmp_path_factory):
    """A finished run of a sick network, and what it said."""
    folder = tmp_path_factory.mktemp("warned")
    done = train(folder, *sick(folder), "-o", "run")
    return folder / "run", done


@pytest.mark.slow
def test_a_healthy_run_is_measured_and_has_no_finding(tmp_path):
    """Where a finding would stop the run, and with enough epochs to judge its course."""
    done = train(tmp_path, *recipes(tmp_path, HEALTHY, epochs=8, health="stop"), "-o", "run")
    assert "warning" not in done.stderr
    assert findings(tmp_path / "run") == []
    for row in rows(tmp_path / "run"):
        assert set(row["health"]) == SLOTS
        assert row["health"]["fc1.weight"]["levels"] == 16
        assert 0 < row["health"]["fc1.weight"]["flips"] < 1
        assert row["health"]["conv2.input"]["step"] > 0
        assert set(row["levels"]) == SLOTS
        assert row["levels"]["fc1.input"] == sorted(row["levels"]["fc1.input"])
    table = (tmp_path / "run" / "metrics.csv").read_text()
    assert "health" not in table
    assert "levels" not in table
    assert done.stderr.count("conv2  ") == 1


def test_what_is_sick_is_said_once_and_is_in_the_result(warned):
    run, done = warned
    assert done.stderr.count("warning: layer fc1, weight: its step has collapsed to 1.19e-07") == 1
    assert done.stderr.count("warning") == 1
    (finding,) = findings(run)
    assert (finding["kind"], finding["layer"], finding["slot"]) == ("collapsed", "fc1", "weight")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("fc1 ")]
    assert line.endswith("weight: collapsed")


@pytest.mark.slow
def test_stop_stops_after_the_checkpoint_and_resume_goes_on(tmp_path):
    done = train(tmp_path, *sick(tmp_path, health="stop"), "-o", "run", code=1)
    assert "error: stopped by the health watch: layer fc1, weight: its step" in done.stderr
    assert "qcli train --resume run" in done.stderr
    run = tmp_path / "run"
    assert json.loads((run / "checkpoint" / "position.json").read_text())["epoch"] == 1
    assert json.loads((run / "run.json").read_text())["status"] == "failed"
    assert not (run / "result.json").exists()
    done = train(tmp_path, "--resume", "run")
    assert len(rows(run)) == 2
    assert len(findings(run)) == 1


@pytest.mark.slow
def test_off_writes_nothing_and_watching_changes_no_bit(warned, tmp_path):
    run, _ = warned
    done = train(tmp_path, *sick(tmp_path, health="off"), "-o", "off")
    assert "warning" not in done.stderr
    off, watched = rows(tmp_path / "off"), rows(run)
    assert all("health" not in row for row in off)
    assert "health" not in json.loads((tmp_path / "off" / "result.json").read_text())
    assert not (tmp_path / "off" / "checkpoint" / "codes.safetensors").exists()
    names = ("train_loss", "val_loss")
    assert [[row[name] for name in names] for row in off] == [
        [row[name] for name in names] for row in watched
    ]
    weights = [(path / "last.safetensors").read_bytes() for path in (run, tmp_path / "off")]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_a_float_run_has_nothing_to_watch(tmp_path):
    train(tmp_path, *recipes(tmp_path, HEALTHY, epochs=1)[:2], "-o", "run")
    assert "health" not in rows(tmp_path / "run")[0]


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tmp_path):
    arguments = recipes(tmp_path, HEALTHY, [{"match": "fc1", "weight": TINY}], epochs=1)
    train(tmp_path, *arguments, "-o", "one")
    done = train(tmp_path, *arguments, "-o", "two", launcher=TOGETHER)
    assert done.stderr.count("warning: layer fc1") == 1
    (one,), (two,) = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert set(one["health"]) == set(two["health"]) == SLOTS
    for place, numbers in one["health"].items():
        others = two["health"][place]
        assert others == pytest.approx(numbers, rel=0.05, abs=2), place
        assert others["count"] == numbers["count"]


@pytest.mark.slow
def test_two_processes_stop_together(tmp_path):
    arguments = sick(tmp_path, health="stop")
    done = train(tmp_path, *arguments, "-o", "run", launcher=TOGETHER, code=1)
    assert "stopped by the health watch" in done.stderr
    assert json.loads((tmp_path / "run" / "checkpoint" / "position.json").read_text())["epoch"] == 1


@pytest.fixture
def network(make_network, quantize_by):
    """A small network, calibrated."""
    torch.manual_seed(0)
    quantized = quantize_by(make_network(), (3, 6, 6), HEALTHY)
    calibrate(quantized, [IMAGES], [each for _, _, each in quantizers(quantized)])
    return quantized


def measure(watch, network):
    with watch.counting(), evaluating(network):
        network(IMAGES)
    return watch.measure()


def test_a_watch_goes_on_inside_an_epoch_where_it_was(network, tmp_path, make_recipe, learn):
    """The checkpoint holds the codes that the epoch began with, not those of the moment."""
    learner = learn(network, make_recipe())
    whole = make_watch(learner)
    measure(whole, network)
    for _, latent in whole.weights.values():
        latent.data.neg_()
    save_checkpoint(learner.accelerator, tmp_path, Position(), whole.codes)
    resumed = make_watch(learner)
    resumed.go_on(json.loads(json.dumps(whole.rows)), load_codes(tmp_path))
    assert measure(resumed, network) == measure(whole, network)
    assert resumed.rows == whole.rows
    assert whole.rows[1]["conv2.weight"]["flips"] > 0.5


def test_damaged_codes_are_named(network, tmp_path, make_recipe, learn):
    learner = learn(network, make_recipe())
    save_checkpoint(learner.accelerator, tmp_path, Position(), make_watch(learner).codes)
    (tmp_path / "checkpoint" / "codes.safetensors").write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"codes\.safetensors is damaged"):
        load_codes(tmp_path)


def test_a_checkpoint_without_codes_gives_no_flips_at_first(network):
    watch = Watch(network, 4)
    watch.go_on([{}], {})
    assert "flips" not in measure(watch, network)["conv2.weight"]
    assert "flips" in measure(watch, network)["conv2.weight"]


def test_measuring_draws_nothing_and_leaves_the_network_as_it_is(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    drawn = torch.get_rng_state()
    measure(Watch(network, 4), network)
    assert torch.equal(drawn, torch.get_rng_state())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_kind_of_finding_is_new_once(network):
    watch = Watch(network, 4)
    measure(watch, network)
    assert watch.new == []
    quantizer, _ = watch.weights["conv2.weight"]
    quantizer.step_size.data.fill_(1e-7)
    measure(watch, network)
    assert [finding.kind for finding in watch.new] == ["collapsed"]
    measure(watch, network)
    assert watch.new == []
    assert [finding.kind for finding in watch.findings()] == ["collapsed"]


NUMBERS = {"levels": 16, "count": 100, "unused": 2, "fullest": 0.25, "ends": 0.125}


@pytest.mark.parametrize(
    ("verbose", "layers", "lines"), [(False, 30, 31), (False, 31, 2), (True, 31, 32)]
)
def test_of_a_large_network_only_the_findings_are_shown(capsys, verbose, layers, lines):
    health = {f"layer{number}.weight": NUMBERS for number in range(layers)}
    finding = Finding("unused levels", "layer3", "weight", 2, 1, "")
    TrainingReport(verbose=verbose).end_watch(health, [finding])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == lines
    assert "layer3 " in captured.err
    assert "14 of 16" in captured.err
    assert "weight: unused levels" in captured.err


def test_other_processes_say_nothing(capsys):
    report = TrainingReport(quiet=True)
    report.end_watch({"fc.weight": NUMBERS}, [])
    report.warn(Finding("frozen", "fc", "weight", 0.0, 0.0, "layer fc"))
    assert capsys.readouterr().err == ""
