"""Every image classifier in an ONNX file, as a network to train: its modules are its nodes."""

from __future__ import annotations

from pathlib import Path

from torch import fx, nn

import qcli
from qcli_architectures.forward_check import check_forward
from qcli_architectures.image_shape import ImageShape, format_shape
from qcli_architectures.onnx.file import Model, declared_image_shape, infer_shapes, read_model
from qcli_architectures.onnx.graph import OnnxGraph, read_graph
from qcli_architectures.onnx.network import build_network, reserved_names


def build_member(
    num_classes: int,
    image_shape: ImageShape,
    *,
    member: str,
    pretrained: bool = True,
    new_head: bool = False,
) -> nn.Module:
    """Return the network of the ONNX file `member`.

    Every node becomes the module of its name, with each sign that is no letter, digit or underscore
    as an underscore. A softmax at the end is left out: the loss has one. Constants that no layer
    holds are not trained, and weights that layers share in the file are trained apart.

    Args:
        num_classes: That of the file, or any with `new_head`.
        image_shape: (C, H, W), that of the file where it names one.
        member: Path of the file.
        pretrained: Whether to start from the weights of the file; else as torch initializes them.
        new_head: Whether to replace the last layer by one of `num_classes`.

    Raises:
        UsageError: The file cannot be read, has a node that cannot be trained, or fits neither the
            images nor the classes.
    """
    path = Path(member).expanduser().resolve()
    label = f"onnx:{path}"
    model = read_model(path)
    _check_images(model, image_shape, label)
    shapes = infer_shapes(model, image_shape, label)
    graph = read_graph(model, shapes, label, reserved_names())
    network = build_network(graph)
    if new_head:
        _replace_head(network, graph, num_classes)
    else:
        _check_classes(graph, num_classes)
    if not pretrained:
        _forget(network)
    check_forward(network, label, num_classes, image_shape, "Choose images as in the file")
    return network


def _check_images(model: Model, image_shape: ImageShape, label: str) -> None:
    declared = declared_image_shape(model, label)
    if any(
        length not in (None, given) for length, given in zip(declared, image_shape, strict=True)
    ):
        allowed = "x".join(str(found or axis) for found, axis in zip(declared, "CHW", strict=True))
        raise qcli.UsageError(
            f"{label}: takes images of {allowed}, the images are {format_shape(image_shape)}; "
            "choose other images, or export the network for these"
        )


def _check_classes(graph: OnnxGraph, num_classes: int) -> None:
    known = graph.scores[1:2]
    if known and known[0] != num_classes:
        raise qcli.UsageError(
            f"{graph.label}: has {known[0]} classes, the data set has {num_classes}; choose "
            "another data set, or type --set architecture.new_head=true to replace the last layer"
        )


def _replace_head(network: fx.GraphModule, graph: OnnxGraph, num_classes: int) -> None:
    """Put a new layer of `num_classes` outputs in the place of the last layer."""
    layers = [
        (str(node.target), module)
        for node in network.graph.nodes
        if node.op == "call_module"
        and isinstance(module := network.get_submodule(str(node.target)), nn.Conv2d | nn.Linear)
    ]
    if not layers or len(layers[-1][1].weight) not in graph.scores[1:2]:
        raise qcli.UsageError(
            f"{graph.label}: its last layer does not give the scores, so none can take its place; "
            "leave out new_head"
        )
    name, last = layers[-1]
    network.add_submodule(name, _make_head(last, num_classes))


def _make_head(last: nn.Conv2d | nn.Linear, num_classes: int) -> nn.Module:
    has_bias = last.bias is not None
    if isinstance(last, nn.Linear):
        return nn.Linear(last.in_features, num_classes, has_bias)
    height, width = last.kernel_size
    return nn.Conv2d(last.in_channels, num_classes, (height, width), bias=has_bias)


def _forget(network: nn.Module) -> None:
    """Draw anew what the file brought, as torch does it."""
    for module in network.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
