"""The float32 operations around the quantizers: every layer and call, and what is refused."""

from __future__ import annotations

import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional
from trained_networks import finish, quantize_network

import qcli
from qcli_exporters.onnx_qdq import write_onnx_qdq
from qcli_exporters.qonnx import write_qonnx

LSQ = {"quantizer": "lsq", "bits": 4}
SHAPE = (3, 12, 12)


def check(network, tmp_path, shape=SHAPE) -> None:
    """Export a network and compare its scores with torch's."""
    torch.manual_seed(0)
    trained = finish(network, shape, 3)
    path = tmp_path / "network.onnx"
    write_onnx_qdq(trained.deployment, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options)
    (found,) = session.run(["logits"], {"image": trained.images.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), trained.observe()[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(3, 6, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2), groups=3)],
        [nn.Conv2d(3, 4, (5, 3), padding="same", dilation=(1, 2))],
        [nn.Conv2d(3, 4, 3, padding="valid", bias=False)],
        [nn.Flatten(2), nn.Conv1d(3, 4, 5, stride=3, padding=2), nn.BatchNorm1d(4)],
        [nn.Flatten(2), nn.ConvTranspose1d(3, 4, 3, stride=2, padding=1, dilation=2)],
        [nn.ConvTranspose2d(3, 6, (3, 2), (2, 3), (1, 0), (1, 2), groups=3, dilation=(2, 1))],
        [nn.Linear(12, 5)],
        [nn.Flatten(), nn.Linear(432, 5), nn.BatchNorm1d(5), nn.PReLU(5)],
        [nn.Flatten(), nn.Linear(432, 5, bias=False), nn.Dropout(), nn.Identity()],
        [nn.BatchNorm2d(3), nn.ReLU()],
        [nn.BatchNorm2d(3, affine=False, eps=0.1), nn.ReLU6()],
        [nn.Hardtanh(-0.5, 0.25)],
        [nn.LeakyReLU(0.3)],
        [nn.PReLU(3)],
        [nn.PReLU()],
        [nn.MaxPool2d(3, 2, 1, 2)],
        [nn.MaxPool2d((3, 2), (2, 3), ceil_mode=True)],
        [nn.MaxPool2d(3, 2, 1, ceil_mode=True)],
        [nn.AvgPool2d(3, 2, 1)],
        [nn.AvgPool2d(5, 2, ceil_mode=True)],
        [nn.AvgPool2d((5, 4), (2, 3), (1, 2), ceil_mode=True, count_include_pad=False)],
        [nn.AvgPool2d((3, 2), (1, 2), (1, 0), count_include_pad=False)],
        [nn.AdaptiveAvgPool2d(1), nn.Flatten()],
        [nn.AdaptiveAvgPool2d((6, 4))],
        [nn.ZeroPad2d((1, 2, 3, 0))],
        [nn.ConstantPad2d((-1, 2, 0, 1), 0.5)],
        [nn.Upsample(scale_factor=(2, 3), mode="nearest")],
        [nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential()), nn.ReLU()],
    ],
    ids=str,
)
def test_layers_compute_what_torch_computes(layers, tmp_path) -> None:
    check(nn.Sequential(*layers), tmp_path)


class Coded(nn.Module):
    """A network whose forward is one function of its input."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.offset = nn.Parameter(torch.tensor([0.5, -1.0, 2.0])[:, None, None])

    def forward(self, x):
        return self.function(self, x)


CALLS = {
    "add": lambda m, x: x + x[:, :1],
    "add a number": lambda m, x: torch.add(x, 1) + x,
    "parameter": lambda m, x: (x + m.offset) * 2 / m.offset - 1,
    "cat": lambda m, x: torch.cat([x, x * 2], 1),
    "cat by name": lambda m, x: torch.cat((x, x), dim=3),
    "pad channels": lambda m, x: functional.pad(x, (0, 0, 0, 0, 1, 2)),
    "pad a value": lambda m, x: functional.pad(x, (1, 0), value=0.25),
    "slices": lambda m, x: x[:, :, ::2, 1::3],
    "a slice": lambda m, x: x[:, 1:2, -5:-1],
    "relu": lambda m, x: functional.relu(x) + torch.relu(x) + x.relu(),
    "flatten": lambda m, x: torch.flatten(x, 1) + x.flatten(1),
    "flatten images": lambda m, x: torch.flatten(x, 2),
    "view by size": lambda m, x: x.view(x.size(0), -1),
    "reshape by shape": lambda m, x: x.reshape(x.shape[0], 6, -1, 12),
    "permute": lambda m, x: x.permute(0, 2, 3, 1) + torch.permute(x, (0, 2, 3, 1)),
    "permute from behind": lambda m, x: x.permute(0, -1, 1, 2).contiguous(),
    "pool": lambda m, x: functional.adaptive_avg_pool2d(x, (1, 1)),
    "mean": lambda m, x: x.mean((2, 3)),
    "mean that keeps": lambda m, x: x.mean([-1, -2], keepdim=True),
    "dropout": lambda m, x: functional.dropout(x, 0.5, training=m.training),
}


@pytest.mark.parametrize("function", CALLS.values(), ids=CALLS)
def test_calls_compute_what_torch_computes(function, tmp_path) -> None:
    network = Coded(function).eval()
    check(network, tmp_path)


class Shared(nn.Module):
    """One layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.conv(self.relu(self.conv(x))))


def test_a_layer_that_is_called_twice_has_one_weight(tmp_path) -> None:
    trained = quantize_network(Shared(), {"weight": LSQ}, SHAPE)
    check(trained.model, tmp_path)
    model = onnx.load(tmp_path / "network.onnx")
    names = [each.name for each in model.graph.initializer if each.name.startswith("conv.weight")]
    assert names == ["conv.weight", "conv.weight.step"]


def test_layers_may_have_the_names_of_the_ends(tmp_path) -> None:
    network = nn.Sequential()
    network.add_module("logits", nn.ReLU())
    network.add_module("image", nn.Conv2d(3, 2, 3))
    check(network, tmp_path)


class Gate(nn.ReLU):
    """An activation with parts, so that its quantizer hangs on a block."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return super().forward(x + self.conv(x))


def test_the_quantizer_of_a_block_is_not_lost(tmp_path) -> None:
    slots = {"output": {"quantizer": "lsq", "bits": 4, "signed": False}}
    trained = quantize_network(nn.Sequential(Gate(), nn.AvgPool2d(2)), slots, SHAPE)
    check(trained.model, tmp_path)
    nodes = onnx.load(tmp_path / "network.onnx").graph.node
    assert [node.name for node in nodes if node.op_type == "QuantizeLinear"] == ["0.output"]


class Strange(nn.Linear):
    """A subclass with another forward."""

    def forward(self, x):
        return super().forward(x).tanh()


def refusal(network, tmp_path, mean=(0.5,)) -> list[str]:
    pixels = {"mean": mean, "std": [0.5]}
    deployment = qcli.Deployment("x", network.eval(), SHAPE, None, pixels)
    with pytest.raises(qcli.ExportError) as refused:
        write_onnx_qdq(deployment, tmp_path / "network.onnx")
    return list(refused.value.faults)


@pytest.mark.parametrize(
    ("layer", "fault"),
    [
        (nn.Softsign(), "layer body.0: Softsign has no ONNX operations here; allowed: Conv1d,"),
        (
            nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"),
            'layer body.0: padding_mode "reflect"; allowed: "zeros"',
        ),
        (nn.BatchNorm2d(3, track_running_stats=False), "layer body.0: it keeps no running stat"),
        (nn.AvgPool2d(2, divisor_override=3), "layer body.0: divisor_override; leave it out"),
        (nn.AvgPool2d(4, 3, 1, ceil_mode=True), "layer body.0: ceil_mode with a border that co"),
        (nn.AdaptiveAvgPool2d(5), r"layer body.0: [12, 12] pixels do not part into [5, 5] equal"),
        (nn.Upsample(scale_factor=2, mode="bilinear"), 'layer body.0: mode "bilinear"; allowed'),
        (nn.Upsample(size=(18, 18)), "layer body.0: it enlarges by no whole number"),
        (nn.Flatten(0), "layer body.0: it mixes the images of a batch: (2, 3, 12, 12) to (864,)"),
    ],
    ids=str,
)
def test_a_layer_that_onnx_does_not_hold_is_named(layer, fault, tmp_path) -> None:
    body = nn.Sequential(layer)
    (found,) = refusal(nn.Sequential(nn.Sequential(), nn.Identity(), Body(body)), tmp_path)
    assert found.replace("layer 2.", "layer ").startswith(fault)


class Body(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x)


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (lambda m, x: x.softmax(1), "call softmax in the network's code: softmax has no ONNX"),
        (lambda m, x: torch.add(x, x, alpha=2), "call add in the network's code: arguments"),
        (lambda m, x: x[:, 0], "call getitem in the network's code: it takes a part of"),
        (lambda m, x: x.mean(1), "call mean in the network's code: mean; allowed: over both"),
        (lambda m, x: functional.pad(x, (1,) * 4, mode="replicate"), "call pad in the network's"),
        (lambda m, x: x if x.sum() > 0 else -x, "the network cannot be traced: "),
        (lambda m, x: (x, x + 1), "the network returns 2 results; allowed: one tensor [N, ...]"),
        (lambda m, x: x[:1], "the network returns 1 results; allowed: one tensor [N, ...]"),
    ],
)
def test_a_call_that_onnx_does_not_hold_is_named(function, fault, tmp_path) -> None:
    (found,) = refusal(Coded(function), tmp_path)
    assert found.startswith(fault)


def test_all_that_is_wrong_is_told_at_once(tmp_path) -> None:
    faults = refusal(nn.Sequential(nn.Softsign(), nn.Conv2d(3, 3, 1), nn.Softplus()), tmp_path)
    assert [line.partition(" has")[0] for line in faults] == [
        "layer 0: Softsign",
        "layer 2: Softplus",
    ]


def test_a_mean_for_each_pixel_is_refused(tmp_path) -> None:
    (fault,) = refusal(nn.Sequential(nn.ReLU()), tmp_path, mean=None)
    assert fault.startswith("the image: each pixel has a mean of its own")


def test_hooks_of_others_are_refused(tmp_path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    network[1].register_forward_hook(lambda module, args, output: output + 1)
    (fault,) = refusal(network, tmp_path)
    assert fault.startswith("module 1: a forward hook that is not qcli's")
    network = nn.Sequential(nn.Conv2d(3, 3, 1))
    network.register_forward_pre_hook(lambda module, args: None)
    (fault,) = refusal(network, tmp_path)
    assert fault.startswith("module of the whole network: a forward hook")


@pytest.mark.parametrize("form", [write_onnx_qdq, write_qonnx], ids=["onnx-qdq", "qonnx"])
def test_a_row_of_modules_with_an_output_quantizer_is_exported(form, tmp_path) -> None:
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Flatten())
    recipe = {"name": "test", "default": {}, "layers": [{"match": "0", "output": LSQ}]}
    quantized = qcli.quantize(network, qcli.make_plan(network, recipe, SHAPE))
    form(finish(quantized, SHAPE, 3).deployment, tmp_path / "network.onnx")
    names = {node.op_type for node in onnx.load(tmp_path / "network.onnx").graph.node}
    assert names & {"QuantizeLinear", "Quant"}


def test_a_quantized_subclass_with_another_forward_is_refused(tmp_path) -> None:
    network = nn.Sequential(nn.Flatten(), Strange(432, 4))
    trained = quantize_network(network, {"weight": LSQ}, SHAPE)
    (fault,) = refusal(trained.model, tmp_path)
    assert fault.startswith("layer 1: ParametrizedStrange has no ONNX operations here")


def test_an_output_that_is_scaled_by_the_input_is_refused(tmp_path) -> None:
    slots = {"input": {"quantizer": "xnor", "input_scale": True}}
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(400, 4))
    trained = quantize_network(network, slots, SHAPE)
    faults = refusal(trained.model, tmp_path)
    assert [line.partition(": ")[0] for line in faults] == ["layer 0, input", "layer 2, input"]
