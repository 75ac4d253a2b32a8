"""The moving average of weights, against its recurrence written out."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from qcli.recipe.schedule import Progress
from qcli.training.average import WeightAverage
from qcli.training.batches import MicroBatch
from qcli.training.evaluation import Tally

CPU = torch.device("cpu")
RECIPE = {
    "name": "averaged",
    "architecture": {"name": "lenet5"},
    "dataset": {"name": "digits"},
    "epochs": 2,
    "batch_size": 64,
    "lr": 0.003,
    "optimizer": {"name": "adam"},
    "ema": {"decay": 0.9},
    "batch_norm_recalibration_batches": 2,
}


def test_the_average_is_the_recurrence():
    network = nn.Linear(1, 1)
    average = WeightAverage(network, 0.75)
    values, wanted = [2.0, 4.0, -8.0], [2.0, 2.5, -0.125]
    for value, expected in zip(values, wanted, strict=True):
        with torch.no_grad():
            network.weight.fill_(value)
        average.update()
        with average.applied():
            assert network.weight.item() == expected
        assert network.weight.item() == value


def test_parameters_come_back_after_a_fault():
    network = nn.Linear(3, 2)
    average = WeightAverage(network, 0.5)
    with torch.no_grad():
        network.weight.add_(1 / 3)
    before = network.weight.clone()
    with pytest.raises(ZeroDivisionError), average.applied():
        network.weight[1 // 0]
    assert torch.equal(network.weight, before)


def test_what_is_frozen_and_buffers_have_no_average():
    network = nn.BatchNorm1d(2)
    network.bias.requires_grad_(False)
    assert WeightAverage(network, 0.5).names == ["weight"]


def test_a_state_goes_on(make_network):
    first, second = make_network(), make_network()
    average, other = WeightAverage(first, 0.5), WeightAverage(second, 0.5)
    average.update()
    other.load_state_dict(average.state_dict())
    assert other.steps == 1
    with other.applied():
        for mine, theirs in zip(second.parameters(), first.parameters(), strict=True):
            assert torch.equal(mine, theirs)
    with pytest.raises(KeyError):
        other.load_state_dict({"steps": 1, "averages": {}})


def test_a_learner_averages_latents_and_quantizers_after_each_step(
    make_network, quantize_by, make_recipe, learn
):
    torch.manual_seed(0)
    slot = {"quantizer": "lsq", "bits": 4, "granularity": "tensor", "initial_step": None}
    slot |= {"learned": True}
    network = quantize_by(make_network(), (3, 6, 6), {"weight": slot})
    learner = learn(network, make_recipe(ema={"decay": 0.5}))
    naive = None
    for step in range(3):
        batch = MicroBatch(torch.randn(4, 3, 6, 6), torch.arange(4))
        learner.step([batch], Progress(step, 3, 0, 1), Tally(CPU))
        now = {name: each.detach().clone() for name, each in network.named_parameters()}
        naive = now if naive is None else {key: (naive[key] + now[key]) / 2 for key in now}
    assert any(name.endswith("step_size") for name in naive)
    with learner.average.applied():
        for name, each in network.named_parameters():
            torch.testing.assert_close(each, naive[name])


def test_skipped_steps_do_not_count(make_network, make_recipe, learn, monkeypatch):
    learner = learn(make_network(), make_recipe(ema={"decay": 0.5}))
    skipped = property(lambda _: True)
    monkeypatch.setattr(type(learner.accelerator), "optimizer_step_was_skipped", skipped)
    batch = MicroBatch(torch.randn(4, 3, 6, 6), torch.arange(4))
    learner.step([batch], Progress(0, 1, 0, 1), Tally(CPU))
    assert learner.average.steps == 0


def test_no_average_without_the_field(make_network, make_recipe, learn):
    assert learn(make_network(), make_recipe()).average is None


def test_what_is_evaluated_is_what_is_saved(tmp_path):
    """Raw weights stay in the checkpoint; best and last hold the averaged ones."""
    (tmp_path / "r.json").write_text(json.dumps(RECIPE))
    command = [sys.executable, "-m", "qcli"]
    recipes = ["--train-json", "./r.json", "--quant-json", "search-1b"]
    train = [*command, "train", "--cpu", *recipes, "-o", "run"]
    done = subprocess.run(train, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    raw, last = load_file(run / "checkpoint/model.safetensors"), load_file(run / "last.safetensors")
    kept = torch.load(run / "checkpoint/custom_checkpoint_0.pkl", weights_only=True)["averages"]
    assert kept.keys() <= raw.keys() == last.keys()
    for name, value in last.items():
        assert name not in kept or torch.equal(value, kept[name])
        # What is re-estimated is that of the averaged hard weights.
        assert "running_" not in name or not torch.equal(value, raw[name])
    assert not any(torch.equal(raw[name], kept[name]) for name in kept)
    evaluate = [*command, "eval", "run", "--weights", "last", "--cpu", "--json"]
    done = subprocess.run(evaluate, cwd=tmp_path, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert json.loads(done.stdout)["top1"] == rows[-1]["val_top1"]
