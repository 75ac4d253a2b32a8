"""What needs a CUDA device: precisions, compilation, resume, and no host sync in a step."""

import json
import subprocess
import sys

import pytest
import torch

import qcli
from qcli.catalog.load import load_catalog
from qcli.quantization.calibration import calibrate
from qcli.recipe.quantization import QuantizationRecipe
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
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("default"),
]

QUANTIZERS = ["search-1b", "search-2b", "lsq-w4a4", "dorefa-w2a2", "dorefa-w1a2", "uniform-w8a8"]


def train(path, quantization, *flags):
    command = [sys.executable, "-m", "qcli", "train", "--train-json", "lenet5-digits-20ep"]
    command += ["--quant-json", quantization, "--epochs", "3", "-o", str(path), *flags]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads((path / "result.json").read_text())


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("quantization", ["search-1b", "lsq-w4a4"])
def test_every_precision_trains(tmp_path, precision, quantization):
    result = train(tmp_path / "run", quantization, "--set", f"precision={precision}")
    assert result["best"]["top1"] > 0.7


def test_compiled_training_works(tmp_path):
    result = train(tmp_path / "run", "search-2b", "--set", "compile=true")
    assert result["best"]["top1"] > 0.7


def test_evaluation_gives_the_recorded_accuracy(tmp_path):
    result = train(tmp_path / "run", "lsq-w4a4")
    command = [sys.executable, "-m", "qcli", "eval", str(tmp_path / "run"), "--json"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert json.loads(printed)["top1"] == result["best"]["top1"]


@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_step_reads_nothing_from_the_device(name):
    catalog = load_catalog()
    request = Request(train_json="lenet5-digits-20ep", quant_json=name)
    setting = resolve_setting(request, catalog)
    accelerator = open_accelerator(setting.training, SessionOptions())
    splits = load_splits(setting, None)
    data = make_data(
        splits, setting.training, setting.image_shape, Process(0, 1, accelerator.device)
    )
    model = assemble(setting, catalog, splits.num_classes).model.to(accelerator.device)
    calibrate(model, data.training.calibration(2))
    learner = make_learner(accelerator, model, setting.training)
    tally = Tally(accelerator.device)
    steps = iter(data.training.epoch(0, 0))
    learner.step(next(steps), Progress(0, 100, 0, 10), tally)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number in range(1, 6):
            learner.step(next(steps), Progress(number, 100, 0, 10), tally)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert tally.read().count == 6 * 64


def test_quantizers_agree_with_the_cpu_bit_for_bit():
    catalog = load_catalog()
    recipe = {"name": "x", "default": {"weight": {"quantizer": "lsq", "bits": 4}}}
    recipe |= {"first_layer": {}, "last_layer": {}, "layers": []}
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(72, 4)
    )
    parsed = QuantizationRecipe.from_json(recipe)
    qcli.quantize(model, qcli.make_plan(model, parsed, (3, 5, 5), catalog=catalog))
    on_cpu = qcli.bake(model)
    on_gpu = qcli.bake(model.cuda())
    assert all(torch.equal(on_cpu[key], on_gpu[key].cpu()) for key in on_cpu)
