"""Four micro-batches of a quarter do what one batch does, for every quantizer with state."""

import pytest
import torch

from qcli.quantization.calibration import calibrate
from qcli.recipe.schedule import Progress
from qcli.training.batches import MicroBatch
from qcli.training.evaluation import Tally

STEPS = 4
SLOTS = {
    "lsq": {"weight": {"quantizer": "lsq"}, "input": {"quantizer": "lsq"}},
    "uniform": {"weight": {"quantizer": "uniform"}, "input": {"quantizer": "uniform"}},
    "percentile": {"input": {"quantizer": "uniform", "observer": "percentile"}},
    "dorefa": {"weight": {"quantizer": "dorefa", "bits": 1}, "input": {"quantizer": "dorefa"}},
    "pact": {"weight": {"quantizer": "pact"}, "input": {"quantizer": "pact", "initial_clip": 1}},
    "cg_pact": {"input": {"quantizer": "cg_pact", "initial_clip": 1}},
    "sat": {"weight": {"quantizer": "sat"}, "input": {"quantizer": "sat", "initial_clip": 1}},
    "wrpn": {"weight": {"quantizer": "wrpn"}},
    "qnn": {"weight": {"quantizer": "qnn", "bits": 1}},
    "xnor": {"weight": {"quantizer": "xnor"}},
    "twn": {"weight": {"quantizer": "twn"}},
    "ttq": {"weight": {"quantizer": "ttq"}},
    "lq_nets": {"weight": {"quantizer": "lq_nets", "bits": 2}},
    "lq_nets of inputs": {"input": {"quantizer": "lq_nets", "bits": 2}},
    "quantization_networks": {"weight": {"quantizer": "quantization_networks", "bits": 2}},
    "quantization_networks of inputs": {"input": {"quantizer": "quantization_networks", "bits": 2}},
    "categorical": {"weight": {"quantizer": "categorical", "scale": "tensor"}},
}


def test_every_quantizer_is_tried(catalog):
    tried = {slot["quantizer"] for slots in SLOTS.values() for slot in slots.values()}
    assert tried == set(catalog.of_kind("quantizers"))


@pytest.mark.parametrize("method", SLOTS)
def test_four_equal_one(method, make_network, make_recipe, learn, quantize_by):
    tools = (make_network, make_recipe, learn, quantize_by)
    start, whole = train(1, SLOTS[method], *tools)
    again, parts = train(4, SLOTS[method], *tools)
    assert start.keys() == whole.keys() == parts.keys()
    assert all(torch.equal(again[name], value) for name, value in start.items())
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-5, msg=name)
    changed = {name for name, value in whole.items() if not torch.equal(value, start[name])}
    assert changed >= {name for name in whole if name.endswith(("bias", "original"))}


def train(accumulate, slots, make_network, make_recipe, learn, quantize_by):
    """Return the state before and after steps whose batch is split into micro-batches."""
    torch.manual_seed(0)
    network = quantize_by(make_network(), (3, 6, 6), slots)
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(STEPS, 16, 3, 6, 6, generator=generator)
    labels = torch.randint(4, (STEPS, 16), generator=generator)
    calibrate(network, [images[0]])
    learner = learn(network, make_recipe(batch_size=16, optimizer={"name": "sgd"}))
    before = {name: value.clone().float() for name, value in network.state_dict().items()}
    for step in range(STEPS):
        pairs = zip(images[step].chunk(accumulate), labels[step].chunk(accumulate), strict=True)
        batches = [MicroBatch(image, label, 1 / accumulate) for image, label in pairs]
        learner.step(batches, Progress(step, STEPS, 0, 1), Tally(torch.device("cpu")))
    return before, {name: value.float() for name, value in learner.network.state_dict().items()}
