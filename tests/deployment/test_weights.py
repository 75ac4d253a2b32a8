"""The folder of weights: values for the plain network, and codes that give them back."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import qcli
from qcli.quantization.calibration import calibrate
from qcli.recipe.quantization import QuantizationRecipe
from qcli_exporters.weights import write_weights

SLOTS = [
    {"weight": {"quantizer": "lsq", "bits": 4}, "input": {"quantizer": "lsq", "bits": 3}},
    {
        "weight": {"quantizer": "lsq", "bits": 2, "granularity": "channel"},
        "output": {"quantizer": "pact", "bits": 4},
    },
    {"weight": {"quantizer": "dorefa", "bits": 8}, "output": {"quantizer": "dorefa", "bits": 2}},
    {"weight": {"quantizer": "ttq"}, "output": {"quantizer": "wrpn", "bits": 2}},
    {"weight": {"quantizer": "lq_nets", "bits": 2}, "output": {"quantizer": "lq_nets", "bits": 2}},
    {
        "weight": {
            "quantizer": "categorical",
            "value_space": [-1, -0.5, 0.5, 1],
            "scale": "channel",
        }
    },
    {"weight": {"quantizer": "uniform", "bits": 9, "granularity": "channel"}},
]


def make_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 3, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 8 * 8, 10),
    )


@pytest.fixture(params=SLOTS, ids=lambda slots: slots["weight"]["quantizer"])
def slots(request):
    return request.param


@pytest.fixture
def written(slots, tmp_path):
    """A quantized network and the folder that is written of it."""
    value = {"name": "x", "default": slots, "first_layer": {}, "last_layer": {}, "layers": []}
    recipe = QuantizationRecipe.from_json(value)
    model = make_network()
    plan = qcli.make_plan(model, recipe, (3, 8, 8), catalog=qcli.load_catalog())
    qcli.quantize(model, plan)
    calibrate(model, [torch.randn(4, 3, 8, 8)])
    for _, slot, quantizer in qcli.quantizers(model):
        # Its two scales start equal, which is a grid.
        if slots["weight"]["quantizer"] == "ttq" and slot == "weight":
            with torch.no_grad():
                next(quantizer.parameters()).mul_(1.37)
    model.eval()
    deployment = qcli.Deployment("x", model, (3, 8, 8), None, {"mean": [0] * 3, "std": [1] * 3})
    write_weights(deployment, tmp_path / "weights")
    return model, tmp_path / "weights"


def values_of(codes, codebook, layer):
    """Look codes up, in the row of their output channel where channels have rows."""
    if codebook.ndim == 1:
        return codebook[codes]
    axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    rows = np.moveaxis(codes, axis, 0).astype(np.int64)
    found = np.stack([book[row] for book, row in zip(codebook, rows, strict=True)])
    return np.moveaxis(found, 0, axis)


def test_the_plain_network_takes_the_weights(written):
    model, folder = written
    plain = make_network()
    plain.load_state_dict(load_file(folder / "weights.safetensors"), strict=True)
    for place, layer in enumerate(model):
        if hasattr(layer, "weight"):
            assert torch.equal(plain[place].weight, layer.weight)


def test_codes_and_codebooks_give_the_weights(written, slots):
    model, folder = written
    arrays = np.load(folder / "codes.npz", allow_pickle=False)
    layers = [name for name, layer in model.named_children() if hasattr(layer, "parametrizations")]
    assert {name.partition("/")[0] for name in arrays} == set(layers) == {"0", "3", "6"}
    for name in layers:
        layer, codebook = model[int(name)], arrays[f"{name}/codebook"]
        codes = arrays[f"{name}/codes"]
        assert codes.dtype == ("uint8" if codebook.shape[-1] <= 256 else "uint16")
        weight = layer.weight.detach().numpy()
        np.testing.assert_array_equal(values_of(codes, codebook, layer), weight)
        method = slots["weight"]["quantizer"]
        if method != "lq_nets":  # whose basis may lie on a grid by chance
            assert (f"{name}/step" in arrays) == (method != "ttq")
        if f"{name}/step" in arrays:
            grid = arrays[f"{name}/integers"] * arrays[f"{name}/step"][..., None]
            np.testing.assert_array_equal(grid.astype(np.float32), codebook)


def test_thresholds_give_the_codes_of_activations(written, slots):
    model, folder = written
    arrays = np.load(folder / "activations.npz", allow_pickle=False)
    found = [each for each in qcli.quantizers(model) if each[1] != "weight"]
    assert bool(found) == (len(slots) > 1)
    assert {name.rpartition("/")[0] for name in arrays} == {f"{a}/{b}" for a, b, _ in found}
    for layer, slot, quantizer in found:
        x = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 3
        tau = arrays[f"{layer}/{slot}/tau"].astype(np.float32)
        near = [np.nextafter(tau, np.float32(way)) for way in (-np.inf, np.inf)]
        finite = np.concatenate([x.numpy(), tau, *near])
        finite = finite[np.isfinite(finite)]
        strict, wide = arrays[f"{layer}/{slot}/strict"], finite[:, None].astype(np.float64)
        reached = np.where(strict, wide > tau.astype(float), wide >= tau.astype(float)).sum(1)
        with torch.no_grad():
            values = quantizer(torch.from_numpy(finite)).numpy()
        np.testing.assert_array_equal(arrays[f"{layer}/{slot}/codebook"][reached], values)


def test_writing_twice_is_no_fault(written):
    model, folder = written
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before.keys() == {"weights.safetensors", "codes.npz", "activations.npz"}
    write_weights(qcli.Deployment("x", model, (3, 8, 8), None, {}), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
