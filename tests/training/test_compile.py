"""Compiled training: one graph while everything anneals, and a run that ends."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import islice

import pytest
import torch

from qcli.catalog.load import load_catalog
from qcli.quantization.calibration import calibrate
from qcli.recipe.schedule import Progress
from qcli.recipe.setting import Request, resolve_setting
from qcli.training.assembly import assemble
from qcli.training.batches import MicroBatch, Process
from qcli.training.data import load_splits, make_data
from qcli.training.evaluation import Tally
from qcli.training.learner import make_learner
from qcli.training.record import SessionOptions
from qcli.training.session import open_accelerator

pytestmark = [
    pytest.mark.slow,
    # torch's compiler warns of its own deprecations.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
RECIPES = ["search-1b", "search-3b", "lsq-w4a4", "dorefa-w1a2", "dorefa-w4a4", "uniform-w8a8"]


@pytest.mark.parametrize("name", RECIPES)
def test_one_graph_for_all_steps(name):
    catalog = load_catalog()
    setting = resolve_setting(
        Request(
            train_json="lenet5-digits-20ep",
            quant_json=name,
            overrides=["drop_last=true", "compile=true"],
        ),
        catalog,
    )
    recipe = setting.training
    accelerator = open_accelerator(recipe, SessionOptions(cpu=True))
    splits = load_splits(setting, None)
    device = accelerator.device
    data = make_data(splits, recipe, setting.image_shape, Process(0, 1, device))
    model = assemble(setting, catalog, splits.num_classes).model
    calibrate(model, data.training.calibration(1))
    learner = make_learner(accelerator, model, recipe)
    assert count_graphs(learner, islice(data.training.epoch(0, 0), 6)) == 1


# What anneals, what gathers, what grows, and what settles its choice at nine tenths.
ON_RESNET20 = [
    "lsq-w4a4",
    "lq_nets-w2a2",
    "quantization_networks-w2a2-integer",
    "search-2b",
    "search-int-3b",
    "slb-w2a4",
    "sat-w4a4",
    "uniform-w8a8",
]


@pytest.mark.parametrize("name", ON_RESNET20)
def test_one_graph_for_all_steps_of_resnet20(name, catalog, learn):
    """One graph while rate, epoch, temperature, noise and phase move."""
    training = "resnet20-cifar10-200ep"
    request = Request(train_json=training, quant_json=name, overrides=["compile=true"])
    setting = resolve_setting(request, catalog)
    model = assemble(setting, catalog, 10).model
    batch = MicroBatch(torch.rand(4, 3, 8, 8), torch.arange(4))
    calibrate(model, [batch.images])
    assert count_graphs(learn(model, setting.training), [[batch]] * 6) == 1


def count_graphs(learner, batches):
    """Return how many graphs six steps take, from the first of a run to nearly its last."""
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(learner.network, backend=count, fullgraph=True, dynamic=False)
    learner = replace(learner, forward=compiled)
    for number, micro_batches in enumerate(batches):
        progress = Progress(number * 47, 240, number, 6)
        learner.step(micro_batches, progress, Tally(learner.accelerator.device))
    torch._dynamo.reset()
    return len(graphs)


def test_a_compiled_run_ends_like_a_plain_one(tmp_path):
    results = {}
    for name, flags in {"plain": [], "compiled": ["--set", "compile=true"]}.items():
        command = [sys.executable, "-m", "qcli", "train", "--epochs", "3", "-o", name, *flags]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        results[name] = json.loads((tmp_path / name / "result.json").read_text())
    assert results["compiled"]["last"]["top1"] > 0.9
    assert results["plain"]["last"]["top1"] > 0.9
