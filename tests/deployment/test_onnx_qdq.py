"""QDQ files in onnxruntime against the fake-quantized torch network."""

from __future__ import annotations

import math
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.numpy_helper import to_array
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
from qcli_exporters.onnx_qdq import write_onnx_qdq

QUIET = onnxruntime.SessionOptions()
QUIET.log_severity_level = 3
WEIGHT = {"quantizer": "lsq", "bits": 4}


def run(path, images, names=()):
    """Return the scores and the tensors named, with the session's default optimizations."""
    model = onnx.load(path)
    for name in names:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = onnxruntime.InferenceSession(model.SerializeToString(), QUIET)
    return session.run(["logits", *names], {"image": images.numpy()})


def export(trained: Trained, tmp_path, **options):
    path = tmp_path / "network.onnx"
    write_onnx_qdq(trained.deployment, path, **options)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    return path


def assert_weights_exact(path, trained: Trained) -> None:
    weights = trained.weights()
    assert weights
    names = [f"{layer}.weight.value" for layer in weights]
    found = run(path, trained.images[:1], names)[1:]
    for values, (layer, weight) in zip(found, weights.items(), strict=True):
        assert values.tobytes() == weight.contiguous().numpy().tobytes(), layer


def assert_codes_equal(path, trained: Trained, share=0.0) -> None:
    """Compare what each quantizer makes of the very numbers that the file gave it."""
    served = [row for row in quantizers(trained.model) if row[1] != "weight"]
    nodes = {node.output[0]: node for node in onnx.load(path).graph.node}
    values = [f"{layer}.{slot}.value" for layer, slot, _ in served]
    sources = []
    for layer, slot, _ in served:
        source = nodes[f"{layer}.{slot}"].input[0]
        clipped = source.endswith(".clipped")
        sources.append(nodes[source].input[0] if clipped else source)
    names = list(dict.fromkeys([*values, *sources]))
    found = dict(zip(names, run(path, trained.images, names)[1:], strict=True))
    flips = count = 0
    for (_, _, quantizer), value, source in zip(served, values, sources, strict=True):
        expected = quantizer(torch.from_numpy(found[source])).detach().numpy()
        flips += int((found[value] != expected).sum())
        count += expected.size
    assert flips <= share * count


@pytest.mark.parametrize(
    ("recipe", "opset", "kinds"),
    [
        ("lsq-w4a4", 21, {"INT4", "INT8", "UINT8"}),
        ("dorefa-w2a2", 21, {"INT4", "UINT8"}),
        ("pact-w4a4", 13, {"INT8", "UINT8"}),
        ("sat-w4a4", 21, {"INT8", "INT16", "UINT8"}),
        ("uniform-w8a8", 13, {"INT8", "UINT8"}),
        ("twn-w2a32", 21, {"INT4"}),
        ("qnn-w1a2", 21, {"INT4", "INT8"}),
        ("search-1b", 21, {"INT4"}),
        ("quantization_networks-w2a32", 21, {"INT4"}),
    ],
)
def test_a_recipe_is_exported_exactly(recipe, opset, kinds, tmp_path) -> None:
    trained = train_network("lenet5", recipe, "mnist")
    path = export(trained, tmp_path)
    scores, seen = trained.observe()
    assert_close(run(path, trained.images)[0], scores)
    assert_weights_exact(path, trained)
    if seen:
        assert_codes_equal(path, trained)
    model = onnx.load(path)
    # Only the newest numbers are refused by runtimes: of ONNX's table of versions, by hand.
    assert (model.opset_import[0].version, model.ir_version) == (opset, {13: 7, 21: 10}[opset])
    stored = {onnx.TensorProto.DataType.Name(each.data_type) for each in model.graph.initializer}
    assert stored - {"FLOAT", "INT64"} == kinds


@pytest.mark.parametrize(
    ("architecture", "recipe"),
    [
        ("resnet20", "lsq-w4a4"),
        pytest.param("mobilenet_v2", "sat-w4a4", marks=pytest.mark.slow),
        pytest.param("mobilenet_v1", "uniform-w8a8", marks=pytest.mark.slow),
    ],
)
def test_a_deep_network_is_exported_exactly(architecture, recipe, tmp_path) -> None:
    trained = train_network(architecture, recipe, "cifar10", 8)
    path = export(trained, tmp_path)
    assert_close(run(path, trained.images)[0], trained.observe()[0])
    assert_weights_exact(path, trained)
    assert_codes_equal(path, trained)


@pytest.mark.parametrize(
    "quantizer",
    [
        {"quantizer": "lsq", "bits": 3},
        {"quantizer": "uniform", "bits": 4},
        {"quantizer": "uniform", "bits": 8},
        {"quantizer": "uniform", "bits": 6, "symmetric": True},
        {"quantizer": "lsq", "bits": 8},
        {"quantizer": "pact", "bits": 5},
        {"quantizer": "qnn", "bits": 2},
        {"quantizer": "wrpn", "bits": 3},
    ],
    ids=str,
)
def test_every_number_has_the_code_that_torch_gives_it(quantizer, tmp_path) -> None:
    trained = boundary_network(quantizer)
    (found,) = run(export(trained, tmp_path), trained.images)
    assert found.tobytes() == trained.observe()[0].numpy().tobytes()


def test_codes_flip_only_where_division_rounds_otherwise(tmp_path) -> None:
    """DoReFa multiplies by N where QuantizeLinear divides by the float32 number nearest to 1/N."""
    trained = train_network("resnet20", "dorefa-w8a8", "cifar10", 8)
    path = export(trained, tmp_path)
    assert_codes_equal(path, trained, share=1e-5)


def test_a_coarse_step_leaves_the_bias_as_it_is(tmp_path) -> None:
    """Where a bias is an input of Gemm, onnxruntime rounds it: scores were 1.5 % off."""
    trained = train_network("lenet5_classic", "lsq-w4a4", "mnist")
    path = export(trained, tmp_path)
    assert_close(run(path, trained.images)[0], trained.observe()[0])


def test_batches_of_any_size_and_what_the_file_says(tmp_path) -> None:
    trained = train_network("lenet5", "lsq-w4a4", "mnist", 3)
    path = export(trained, tmp_path)
    scores = run(path, trained.images)[0]
    assert scores.shape == (3, 10)
    assert np.allclose(run(path, trained.images[:1])[0], scores[:1], rtol=1e-5)
    assert "pixel / 255" in onnx.load(path).doc_string


@pytest.mark.parametrize(
    "weight",
    [
        {"quantizer": "lsq", "bits": 3, "granularity": "channel"},
        {"quantizer": "uniform", "bits": 8, "granularity": "channel"},
        {"quantizer": "twn", "granularity": "channel"},
        {"quantizer": "xnor"},
        {"quantizer": "dorefa", "bits": 8},
        {"quantizer": "ttq"},
        {"quantizer": "lq_nets", "bits": 2},
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
        if weight["quantizer"] == "lq_nets":
            quantizer.levels.mul_(1 + 0.01 * torch.rand_like(quantizer.levels))
    path = export(trained, tmp_path)
    assert_weights_exact(path, trained)
    assert_close(run(path, trained.images)[0], trained.observe()[0])


def test_two_bits_are_stored_as_such_on_request(tmp_path) -> None:
    trained = train_network("lenet5", "twn-w2a32", "mnist")
    path = export(trained, tmp_path, int2=True)
    model = onnx.load(path)
    assert (model.opset_import[0].version, model.ir_version) == (25, 13)
    (weight,) = (each for each in model.graph.initializer if each.name == "fc1.weight")
    assert weight.data_type == onnx.TensorProto.INT2
    codes = to_array(weight).astype(int)
    assert set(np.unique(codes)) == {-1, 0, 1}
    assert len(weight.raw_data) == codes.size / 4
    assert_weights_exact(path, trained)
    assert_close(run(path, trained.images)[0], trained.observe()[0])


@pytest.mark.parametrize(
    ("recipe", "faults"),
    [
        ("xnor-w1a1", ["conv2.input", "fc1.input"]),
        ("lq_nets-w2a2", ["conv2.input", "fc1.input"]),
        ("quantization_networks-w1a2", ["relu1.output", "relu2.output", "relu3.output"]),
    ],
)
def test_activations_off_a_step_are_refused_by_layer(recipe, faults, tmp_path) -> None:
    trained = train_network("lenet5", recipe, "mnist", 2)
    with pytest.raises(qcli.ExportError, match="take --format qonnx or onnx-integer") as refused:
        write_onnx_qdq(trained.deployment, tmp_path / "network.onnx")
    assert [line.partition(":")[0] for line in refused.value.faults] == faults
    assert not any(tmp_path.iterdir())


def test_activations_that_only_clip_are_clips(tmp_path) -> None:
    trained = train_network("lenet5", "dorefa-w32a32", "mnist", 4)
    path = export(trained, tmp_path)
    assert_close(run(path, trained.images)[0], trained.observe()[0])
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    assert kinds.count("Clip") == 2
    assert "QuantizeLinear" not in kinds


def test_without_onnx_it_says_what_to_install(tmp_path, monkeypatch) -> None:
    trained = quantize_network(
        nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), {"weight": WEIGHT}, (3, 2, 2)
    )
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(qcli.MissingTool, match=r"pip install 'qcli\[onnx\]'"):
        write_onnx_qdq(trained.deployment, tmp_path / "network.onnx")
