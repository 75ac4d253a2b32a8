"""The moving average of weights, against its recurrence written out."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from qcli.quantization.surgery import latents, quantizers
from qcli.recipe.schedule import Progress
from qcli.training.average import WeightAverage
from qcli.training.batches import MicroBatch
from qcli.training.evaluation import Tally
from qcli.training.state_file import read_state

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


MEASURING = {
    "twn": {},
    "ttq": {},
    "xnor": {"bits": 1},
    "sat": {"bits": 2, "rescale": True},
    "dorefa": {"bits": 1},
    "wrpn": {"bits": 1, "scale": "mean"},
    "uniform": {"bits": 4},
}


@pytest.mark.parametrize("name", MEASURING)
def test_a_quantized_weight_is_that_of_the_averaged_latent(name, make_network, quantize_by):
    """What is kept beside the latent is as if the quantizer had met the average first."""
    torch.manual_seed(0)
    network = quantize_by(
        make_network(), (3, 6, 6), {"weight": {"quantizer": name, **MEASURING[name]}}
    )
    ((_, _, quantizer),) = [each for each in quantizers(network) if each[0] == "conv2"]
    latent = latents(network)[quantizer]
    average = WeightAverage(network, 0.5)
    average.update()
    with torch.no_grad():
        latent.mul_(0.25).add_(0.01 * torch.randn_like(latent))
        quantizer.after_step(latent)
    average.update()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fresh = copy.deepcopy(quantizer)
    with average.applied():
        fresh.observe(latent.detach())
        torch.testing.assert_close(network.conv2.weight, fresh(latent))
    after = network.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_levels_of_twn_by_hand(make_network, quantize_by):
    """|w| is 1 everywhere, then 3: the average with decay 0.5 is 2, and so is E."""
    network = quantize_by(make_network(), (3, 6, 6), {"weight": {"quantizer": "twn"}})
    ((_, _, quantizer),) = [each for each in quantizers(network) if each[0] == "conv2"]
    latent = latents(network)[quantizer]
    average = WeightAverage(network, 0.5)
    for value in (1.0, 3.0):
        with torch.no_grad():
            latent.fill_(value)
            quantizer.after_step(latent)
        average.update()
    with average.applied():
        assert quantizer.codebook().tolist() == [-2, 0, 2]
        assert network.conv2.weight.unique().tolist() == [2]
    assert quantizer.codebook().tolist() == [-3, 0, 3]


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
    kept = read_state(run / "checkpoint/registered_0.safetensors")["averages"]
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
