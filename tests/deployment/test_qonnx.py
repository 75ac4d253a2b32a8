"""QONNX files in the executor of qonnx against the fake-quantized torch network."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import onnx
import pytest
import torch
from qonnx.core import onnx_exec
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.change_batchsize import ChangeBatchSize
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.util.basic import qonnx_make_model
from torch import nn
from trained_networks import (
    Trained,
    assert_close,
    boundary_network,
    quantize_network,
    train_network,
)

import qcli
from qcli.quantization.surgery import quantizers
from qcli_exporters.activation_levels import read_staircase, read_uniform
from qcli_exporters.qonnx import DOMAIN, write_qonnx


@pytest.fixture(autouse=True)
def older_files(monkeypatch):
    """The executor makes a file of each node, in a version that onnxruntime may not know yet."""
    monkeypatch.setattr(onnx_exec, "qonnx_make_model", partial(qonnx_make_model, ir_version=10))


def export(trained: Trained, tmp_path):
    path = tmp_path / "network.onnx"
    write_qonnx(trained.deployment, path)
    return path


def run(path, images):
    """Return every tensor by name."""
    model = ModelWrapper(str(path)).transform(ChangeBatchSize(len(images)))
    model = model.transform(InferShapes())
    return onnx_exec.execute_onnx(model, {"image": images.numpy()}, True)


def assert_weights_exact(found, trained: Trained) -> None:
    weights = trained.weights()
    assert weights
    for layer, weight in weights.items():
        assert found[f"{layer}.weight.value"].tobytes() == weight.contiguous().numpy().tobytes()


def assert_codes_equal(path, found, trained: Trained, share=0.0) -> None:
    """Compare what each quantizer makes of the very numbers that the file gave it."""
    # What is counted or cut first has the bare name.
    nodes = {node.output[0]: node for node in onnx.load(path).graph.node}
    flips = count = 0
    for layer, slot, quantizer in quantizers(trained.model):
        if slot != "weight":
            name = f"{layer}.{slot}"
            source = found[nodes.get(name, nodes[f"{name}.value"]).input[0]]
            expected = quantizer(torch.from_numpy(source)).detach().numpy()
            flips += int((found[f"{name}.value"] != expected).sum())
            count += expected.size
    assert count
    assert flips <= share * count


def quantizer_nodes(path) -> dict[str, str]:
    """Return the kind of each of QONNX's operations by its name."""
    nodes = onnx.load(path).graph.node
    return {node.output[0]: node.op_type for node in nodes if node.domain == DOMAIN}


@pytest.mark.parametrize(
    ("recipe", "weight", "activation"),
    [
        ("lsq-w4a4", "Quant", "Quant"),
        ("dorefa-w2a2", "Quant", "Quant"),
        ("pact-w4a4", "Quant", "Quant"),
        ("sat-w4a4", "Quant", "Quant"),
        ("uniform-w8a8", "Quant", "Quant"),
        ("twn-w2a32", "Quant", None),
        ("ttq-w2a32", "Quant", None),
        ("lq_nets-w2a2", "Quant", "MultiThreshold"),
        ("qnn-w1a2", "BipolarQuant", "Quant"),
        ("qnn-w1a1", "BipolarQuant", "BipolarQuant"),
        ("xnor-w1a1", "BipolarQuant", "BipolarQuant"),
        ("search-1b", "BipolarQuant", None),
        ("quantization_networks-w2a32", "Quant", None),
        ("quantization_networks-w1a2", "BipolarQuant", "MultiThreshold"),
    ],
)
def test_a_recipe_is_exported_exactly(recipe, weight, activation, tmp_path) -> None:
    trained = train_network("lenet5", recipe, "mnist")
    path = export(trained, tmp_path)
    found = run(path, trained.images)
    scores, seen = trained.observe()
    assert_close(found["logits"], scores)
    assert_weights_exact(found, trained)
    kinds = quantizer_nodes(path)
    assert kinds["conv2.weight.value"] == weight
    assert bool(seen) == (activation is not None)
    if seen:
        assert_codes_equal(path, found, trained)
        of_activations = {kind for name, kind in kinds.items() if "weight" not in name}
        assert activation in of_activations


@pytest.mark.parametrize(
    ("architecture", "recipe"),
    [
        ("resnet20", "xnor-w1a1"),
        pytest.param("resnet20", "lsq-w4a4", marks=pytest.mark.slow),
        pytest.param("resnet20", "lq_nets-w2a2", marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", "sat-w4a4", marks=pytest.mark.slow),
        pytest.param("googlenet", "search-1b", marks=pytest.mark.slow),
    ],
)
def test_a_deep_network_is_exported_exactly(architecture, recipe, tmp_path) -> None:
    trained = train_network(architecture, recipe, "cifar10", 4)
    path = export(trained, tmp_path)
    found = run(path, trained.images)
    assert_weights_exact(found, trained)
    scores, seen = trained.observe()
    if seen:
        assert_codes_equal(path, found, trained)
    assert_close(found["logits"], scores)


@pytest.mark.parametrize(
    ("quantizer", "kinds"),
    [
        ({"quantizer": "xnor"}, ("BipolarQuant",)),
        ({"quantizer": "xnor", "bits": 3}, ("MultiThreshold", "Mul")),
        ({"quantizer": "qnn", "bits": 2}, ("Quant",)),
        ({"quantizer": "qnn", "bits": 3, "scheme": "log"}, ("MultiThreshold", "Cast", "Gather")),
        (
            {"quantizer": "quantization_networks", "value_space": [-3, -1, 1, 3]},
            ("MultiThreshold", "Mul"),
        ),
        (
            {"quantizer": "quantization_networks", "value_space": [-3, -1, 0, 5]},
            ("MultiThreshold", "Cast", "Gather"),
        ),
        ({"quantizer": "dorefa", "bits": 1}, ("Quant",)),
        ({"quantizer": "pact", "bits": 5}, ("Quant",)),
        ({"quantizer": "uniform", "bits": 4}, ("MultiThreshold", "Mul")),
        ({"quantizer": "uniform", "bits": 4, "symmetric": True}, ("Quant",)),
        ({"quantizer": "lsq", "bits": 3}, ("Quant",)),
    ],
    ids=str,
)
def test_every_number_has_the_code_that_torch_gives_it(quantizer, kinds, tmp_path) -> None:
    trained = boundary_network(quantizer)
    path = export(trained, tmp_path)
    found = run(path, trained.images)["logits"]
    assert (found == trained.observe()[0].numpy()).all()
    assert {node.op_type for node in onnx.load(path).graph.node} - {"Sub", "Div", "Flatten"} == set(
        kinds
    )


@pytest.mark.parametrize(
    "weight",
    [
        {"quantizer": "lsq", "bits": 3, "granularity": "channel"},
        {"quantizer": "twn", "granularity": "channel"},
        {"quantizer": "xnor"},
        {"quantizer": "ttq"},
        {"quantizer": "lq_nets", "bits": 3},
        {"quantizer": "categorical", "value_space": [-1, -0.3, 0.1, 2], "scale": "channel"},
    ],
    ids=str,
)
def test_weights_of_every_kind_are_exact(weight, tmp_path) -> None:
    """With a channel of zeros, a transposed layer of two groups, and uneven codebooks."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2, output_padding=1),
        nn.Flatten(),
        nn.Linear(4 * 14 * 14, 10),
    )
    with torch.no_grad():
        network[0].weight[2] = 0
    trained = quantize_network(network, {"weight": weight}, (3, 8, 8), pretrained=True)
    for _, _, quantizer in quantizers(trained.model):
        if weight["quantizer"] == "ttq":
            quantizer.negative_scale.data.fill_(1 / math.pi)
    found = run(export(trained, tmp_path), trained.images)
    assert_weights_exact(found, trained)
    assert_close(found["logits"], trained.observe()[0])


def test_bits_and_signs_of_the_widths(tmp_path) -> None:
    """DoReFa's 2-bit weights are odd thirds, -3 to 3: 3 bits; its activations are 0 to 3."""
    trained = train_network("lenet5", "dorefa-w2a2", "mnist", 2)
    model = onnx.load(export(trained, tmp_path))
    numbers = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    nodes = {node.output[0]: node for node in model.graph.node}
    for name, bits, signed, narrow in (("conv2.weight", 3, 1, 1), ("conv2.input", 2, 0, 0)):
        node = nodes[f"{name}.value"]
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        assert attributes == {"signed": signed, "narrow": narrow, "rounding_mode": b"ROUND"}
        assert [numbers[each].tolist() for each in node.input[1:]] == [
            pytest.approx(1 / 3, rel=1e-7),
            0,
            bits,
        ]
    assert {each.domain for each in model.opset_import} == {"", DOMAIN}


class Stairs(qcli.Quantizer):
    """Three levels with boundaries that no float32 is equal to."""

    def __init__(self, thresholds):
        super().__init__(qcli.TensorInfo("input", (1, 2, 2)))
        self.boundaries = thresholds

    def codebook(self):
        return torch.tensor([-1.0, 0.0, 3.0])

    def thresholds(self):
        return self.boundaries


def test_boundaries_become_the_float32_numbers_that_reach_them() -> None:
    third = np.float32(1 / 3)
    above = np.nextafter(third, np.float32(1))
    tau = torch.tensor([1 / 3, float(third)], dtype=torch.float64)
    for strict, expected in (
        ([False, False], [third if float(third) >= 1 / 3 else above, third]),
        ([True, True], [third if float(third) > 1 / 3 else above, above]),
    ):
        boundaries = qcli.Thresholds(tau, torch.tensor(strict))
        staircase = read_staircase(Stairs(boundaries))
        assert staircase is not None
        assert staircase.thresholds.tolist() == [float(each) for each in expected]


@pytest.mark.parametrize(("shift", "is_uniform"), [(0.0, True), (1e-8, True), (1e-5, False)])
def test_what_rounds_to_a_step_has_its_boundaries_in_the_middle(shift, is_uniform) -> None:
    class Even(Stairs):
        def codebook(self):
            return torch.tensor([0.0, 0.25, 0.5])

    tau = torch.tensor([0.125, 0.375 + shift], dtype=torch.float64)
    quantizer = Even(qcli.Thresholds(tau, torch.tensor([True, False])))
    assert (read_uniform(quantizer) is not None) == is_uniform
