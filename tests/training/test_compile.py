"""Compiled training: one graph while everything anneals, and a run that ends."""

import json
import subprocess
import sys

import pytest
import torch

from qcli.catalog.load import load_catalog
from qcli.quantization.calibration import calibrate
from qcli.recipe.schedule import Progress
from qcli.recipe.setting import Request, resolve_setting
from qcli.training.assembly import assemble
from qcli.training.batches import Process
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
        Request(train_json="lenet5-digits-20ep", quant_json=name, overrides=["drop_last=true"]),
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
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(learner.forward, backend=count, fullgraph=True)
    learner = type(learner)(**{**vars(learner), "forward": compiled})
    steps = data.training.epoch(0, 0)
    for number in range(6):
        progress = Progress(number * 40, 240, number, 6)
        learner.step(next(steps), progress, Tally(device))
    torch._dynamo.reset()
    assert len(graphs) == 1


def test_a_compiled_run_ends_like_a_plain_one(tmp_path):
    results = {}
    for name, flags in {"plain": [], "compiled": ["--set", "compile=true"]}.items():
        command = [sys.executable, "-m", "qcli", "train", "--epochs", "3", "-o", name, *flags]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        results[name] = json.loads((tmp_path / name / "result.json").read_text())
    assert results["compiled"]["last"]["top1"] > 0.9
    assert results["plain"]["last"]["top1"] > 0.9
