"""The bundled networks: their names, what images they take, and what makes them quantizable."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

import qcli
import qcli_architectures
from qcli_architectures.activation import ACTIVATIONS
from qcli_architectures.resnet_cifar import ZeroPadShortcut

Shape = tuple[int, int, int]

ENTRIES = {entry.name: entry for entry in qcli_architectures.qcli_register_architectures()}
# Hundreds of blocks take half a minute.
OWN = [
    pytest.param(name, marks=pytest.mark.slow) if name == "resnet1202" else name
    for name in ENTRIES
    if not name.endswith(":")
]
# The activations in one network of each definition; the others have more blocks, nothing else.
ACTIVATION_COUNTS = {"lenet5": 3, "lenet5_caffe": 3, "lenet5_classic": 4, "vgg_small": 6}
ACTIVATION_COUNTS |= {"resnet20": 19, "resnet18": 17, "resnet50": 49}
KINDS = list(ACTIVATION_COUNTS)
FITTING = [name for name in ENTRIES if name != "resnet1202" and not name.endswith(":")]
ACTIVATION_COUNTS |= {"lenet_n2d2": 3, "simplenet": 3, "vgg7": 7, "vgg16": 15, "vgg_variant": 13}
ACTIVATION_COUNTS |= {"alexnet": 7, "alexnet_dorefa": 7, "alexnet_torchvision": 7}
# Its inner layers have none of their own.
ACTIVATION_COUNTS |= {"alexnet_xnor": 2}

MNIST, CIFAR, IMAGENET = (1, 28, 28), (3, 32, 32), (3, 224, 224)


def find_build(name: str) -> Callable[..., nn.Module]:
    module, function = str(ENTRIES[name].build).split(":")
    return getattr(importlib.import_module(module), function)


def build(
    name: str,
    num_classes: int = 10,
    image_shape: Shape | None = None,
    device: str = "meta",
    **options: Any,
) -> nn.Module:
    with torch.device(device):
        shape = image_shape or ENTRIES[name].default_image_shape
        return find_build(name)(num_classes, shape, **options)


def make_images(shape: Shape, device: str = "meta") -> torch.Tensor:
    return torch.randn(2, *shape, device=device)


def is_quantizable(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.Linear)


def record_calls(network: nn.Module, images: torch.Tensor) -> list[str]:
    """Return the dotted names of the modules without children, in the order of their calls."""
    calls: list[str] = []
    for name, module in network.named_modules():
        if not any(module.children()):
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
    network(images)
    return calls


# Totals and conv + fc weights; those of the package's own networks: published_counts.py.
@pytest.mark.parametrize(
    ("member", "total", "weights"),
    [
        ("alexnet", 61_100_840, 61_090_496),
        ("googlenet", 6_624_904, 6_609_344),
        ("mobilenet_v2", 3_504_872, 3_469_760),
        ("vgg16_bn", 138_365_992, 138_344_128),
    ],
)
def test_parameter_counts_of_torchvision(member: str, total: int, weights: int) -> None:
    network = build("torchvision:", 1000, IMAGENET, member=member)
    assert sum(parameter.numel() for parameter in network.parameters()) == total
    layers = [layer for layer in network.modules() if is_quantizable(layer)]
    assert sum(layer.weight.numel() for layer in layers) == weights


@pytest.mark.parametrize("name", OWN)
def test_named_first_and_last_layers_are_called_first_and_last(name: str) -> None:
    network = build(name)
    calls = record_calls(network, make_images(ENTRIES[name].default_image_shape))
    layers = [call for call in calls if is_quantizable(network.get_submodule(call))]
    assert (layers[0], layers[-1]) == (ENTRIES[name].first_layer, ENTRIES[name].last_layer)
    assert sorted(layers) == sorted(n for n, m in network.named_modules() if is_quantizable(m))


@pytest.mark.parametrize(
    ("name", "image_shape"),
    [
        *[(name, entry.default_image_shape) for name, entry in ENTRIES.items() if name in FITTING],
        *[("lenet5", (1, 16, 16)), ("lenet5", (3, 33, 47)), ("lenet5_caffe", CIFAR)],
        *[("lenet5_classic", (1, 12, 12)), ("lenet5_classic", (3, 31, 40))],
        *[("resnet20", (1, 8, 8)), ("resnet20", (2, 17, 9))],
        *[("resnet18", (1, 8, 8)), ("resnet18", (3, 65, 40)), ("resnet50", (4, 64, 96))],
        *[("vgg_small", (1, 8, 8)), ("vgg_small", (3, 47, 64))],
    ],
)
def test_networks_fit_their_image_shape(name: str, image_shape: Shape) -> None:
    assert build(name, 7, image_shape)(make_images(image_shape)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "image_shape", "smallest"),
    [
        ("lenet5", (1, 8, 8), "1x16x16"),
        ("lenet5_caffe", (3, 15, 40), "3x16x16"),
        ("lenet5_classic", (1, 28, 11), "1x12x12"),
        ("vgg_small", (3, 7, 32), "3x8x8"),
    ],
)
def test_images_too_small_are_refused(name: str, image_shape: Shape, smallest: str) -> None:
    found = "x".join(map(str, image_shape))
    message = f"{name}: images of {found} .* smallest allowed are {smallest}"
    with pytest.raises(qcli.UsageError, match=message):
        build(name, 10, image_shape)


@pytest.mark.parametrize("name", ACTIVATION_COUNTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_activation_is_its_own_module_called_once(name: str, activation: str) -> None:
    network = build(name, activation=activation)
    expected = type(ACTIVATIONS[activation]())
    relus = [n for n in dict(network.named_modules()) if n.split(".")[-1].startswith("relu")]
    calls = record_calls(network, make_images(ENTRIES[name].default_image_shape))
    assert {type(network.get_submodule(relu)) for relu in relus} == {expected}
    assert [calls.count(relu) for relu in relus] == [1] * ACTIVATION_COUNTS[name]


@pytest.mark.parametrize("name", KINDS)
def test_networks_trace_without_functional_activations(name: str) -> None:
    network = build(name, image_shape=CIFAR, device="cpu").eval()
    images = make_images(CIFAR, "cpu")
    traced = torch.fx.symbolic_trace(network)
    assert torch.equal(traced(images), network(images))
    functions = [node for node in traced.graph.nodes if node.op != "call_module"]
    assert not [function for function in functions if "relu" in str(function.target)]


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "resnet18", "vgg_small"])
def test_networks_compile_to_one_graph(name: str) -> None:
    network = build(name, image_shape=CIFAR, device="cpu").eval()
    images = make_images(CIFAR, "cpu")
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    assert torch.equal(compiled(images), network(images))


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_torchvision_weights_load_and_give_equal_outputs(name: str) -> None:
    theirs = torchvision.models.get_model(name, weights=None).eval()
    ours = build(name, 1000, IMAGENET, device="cpu").eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = make_images((3, 96, 96), "cpu")
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnet_starts_as_torchvision_does(name: str) -> None:
    torch.manual_seed(1)
    theirs = torchvision.models.get_model(name, weights=None).state_dict()
    torch.manual_seed(1)
    ours = build(name, 1000, IMAGENET, device="cpu").state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("name", ["resnet20", "vgg_small"])
def test_kaiming_fan_in_initialization(name: str) -> None:
    torch.manual_seed(0)
    for layer in filter(is_quantizable, build(name, 100, device="cpu").modules()):
        deviation = layer.weight.std().item()
        assert deviation == pytest.approx((2 / layer.weight[0].numel()) ** 0.5, rel=0.15)


def test_zero_pad_shortcut_by_hand() -> None:
    images = torch.arange(1.0, 33.0).reshape(1, 2, 4, 4)
    expected = torch.zeros(1, 4, 2, 2)
    expected[0, 1] = torch.tensor([[1.0, 3.0], [9.0, 11.0]])
    expected[0, 2] = torch.tensor([[17.0, 19.0], [25.0, 27.0]])
    assert torch.equal(ZeroPadShortcut(2, 4, stride=2)(images), expected)


def test_pooling_stands_before_batch_norm_in_vgg_small() -> None:
    names = [name for name, _ in build("vgg_small").named_children()]
    assert names[3:7] == ["conv2", "pool2", "bn2", "relu2"]


@pytest.mark.parametrize("name", ENTRIES)
def test_options_are_the_keyword_parameters(name: str) -> None:
    parameters = inspect.signature(find_build(name)).parameters.values()
    keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    if name.endswith(":"):
        assert keywords.pop("member") is inspect.Parameter.empty
    assert {key: option["default"] for key, option in ENTRIES[name].options.items()} == keywords


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_are_described(name: str) -> None:
    entry = ENTRIES[name]
    assert entry.summary.endswith(".")
    assert entry.source
    assert all(option["description"] and option["type"] for option in entry.options.values())
    if "activation" in entry.options:
        assert entry.options["activation"]["enum"] == list(ACTIVATIONS)


@pytest.mark.parametrize("member", ["googlenet", "inception_v3", "regnet_y_400mf", "swin_t"])
def test_torchvision_members_train_on_plain_scores(member: str) -> None:
    network = build("torchvision:", 10, IMAGENET, device="cpu", member=member)
    assert network.to("meta")(make_images(IMAGENET)).shape == (2, 10)


def test_torchvision_probe_leaves_the_network_as_it_was() -> None:
    network = build("torchvision:", 10, CIFAR, device="cpu", member="shufflenet_v2_x0_5")
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"cpu"}
    norm = next(m for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize(
    ("member", "image_shape", "message"),
    [
        ("resnet19", IMAGENET, r'has no classifier "resnet19" \(did you mean "resnet1'),
        ("fasterrcnn_resnet50_fpn", IMAGENET, 'has no classifier "fasterrcnn_resnet50_fpn"'),
        ("alexnet", MNIST, "images of 1x28x28 do not have the 3 channels"),
        ("alexnet", CIFAR, "torchvision:alexnet: cannot take images of 3x32x32"),
        ("vit_b_32", CIFAR, "cannot take images of 3x32x32 .*Expected 224 but got 32"),
    ],
)
def test_torchvision_refusals(member: str, image_shape: Shape, message: str) -> None:
    with pytest.raises(qcli.UsageError, match=message):
        build("torchvision:", 10, image_shape, member=member)


def test_listing_the_entries_does_not_import_torch() -> None:
    code = (
        "import sys, qcli_architectures as a; a.qcli_register_architectures(); "
        "print('torch' in sys.modules, 'torchvision' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]
