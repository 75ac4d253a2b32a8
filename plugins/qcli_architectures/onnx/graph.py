"""An ONNX graph as plain records: only the nodes that the scores depend on. No torch in here."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

import qcli
from qcli_architectures.onnx.bias import merge_biases
from qcli_architectures.onnx.file import Model, Shape, image_input
from qcli_architectures.onnx.naming import name_nodes
from qcli_architectures.onnx.node import Array, Node

# Left out at the end: the loss has a softmax of its own.
_SOFTMAX = ("LogSoftmax", "Softmax")


@dataclass(frozen=True)
class OnnxGraph:
    """What lies between the images and the scores.

    Args:
        label: What the user calls the file.
        nodes: In an order in which they can be computed.
        input: Name of the images.
        output: Name of the scores.
        scores: Shape of the scores, with the batch; empty where it is unknown.
    """

    label: str
    nodes: tuple[Node, ...]
    input: str
    output: str
    scores: Shape


def read_graph(
    model: Model, shapes: Mapping[str, Shape], label: str, reserved: Collection[str]
) -> OnnxGraph:
    """Read the nodes that the scores depend on.

    Args:
        model: The file.
        shapes: Of its values, with the batch.
        label: What the user calls the file.
        reserved: Names that no node may have.

    Raises:
        UsageError: The scores are not computed from the images alone.
    """
    constants = _fold_constants(model)
    nodes, alias = _pass_identities(_read_nodes(model, constants, shapes, label, reserved))
    by_output = {node.output: node for node in nodes}
    image, output = image_input(model).name, model.graph.output[0].name
    output = alias.get(output, output)
    while output in by_output and by_output[output].op in _SOFTMAX:
        output = by_output[output].inputs[0]
    needed = _find_needed(by_output, image, output, label)
    kept = merge_biases([node for node in nodes if node.output in needed], output)
    return OnnxGraph(label, tuple(kept), image, output, shapes.get(output, ()))


def _fold_constants(model: Model) -> dict[str, Array]:
    """Return every value that depends on no image."""
    to_array = importlib.import_module("onnx.numpy_helper").to_array
    evaluator = importlib.import_module("onnx.reference").ReferenceEvaluator
    opsets = {each.domain: each.version for each in model.opset_import}
    known: dict[str, Array] = {each.name: to_array(each) for each in model.graph.initializer}
    for node in model.graph.node:
        if any(name and name not in known for name in node.input):
            continue
        given = {name: known[name] for name in node.input if name}
        try:
            values = evaluator(node, opsets=opsets).run(None, given)
        except Exception:
            # Onnx cannot compute everything; who needs the value says that it is no constant.
            continue
        known |= {name: np.asarray(each) for name, each in zip(node.output, values, strict=False)}
    return known


def _read_nodes(
    model: Model,
    constants: Mapping[str, Array],
    shapes: Mapping[str, Shape],
    label: str,
    reserved: Collection[str],
) -> list[Node]:
    attribute_value = importlib.import_module("onnx.helper").get_attribute_value
    protos = [each for each in model.graph.node if each.output[0] not in constants]
    ops = [
        each.op_type if each.domain in ("", "ai.onnx") else f"{each.domain}.{each.op_type}"
        for each in protos
    ]
    names = name_nodes([each.name for each in protos], ops, reserved)
    return [
        Node(
            name=name,
            op=op,
            place=f'{label}: node "{proto.name or name}" ({op})',
            inputs=tuple(proto.input),
            output=proto.output[0],
            attributes={each.name: attribute_value(each) for each in proto.attribute},
            constants=constants,
            shapes=shapes,
        )
        for name, op, proto in zip(names, ops, protos, strict=True)
    ]


def _pass_identities(nodes: Sequence[Node]) -> tuple[list[Node], dict[str, str]]:
    """Let what an Identity feeds take its input itself; return also who stands for whom."""
    alias: dict[str, str] = {}
    kept = []
    for node in nodes:
        inputs = tuple(alias.get(name, name) for name in node.inputs)
        if node.op == "Identity":
            alias[node.output] = inputs[0]
        else:
            kept.append(replace(node, inputs=inputs))
    return kept, alias


def _find_needed(by_output: Mapping[str, Node], image: str, output: str, label: str) -> set[str]:
    """Return the values on the way from the images to the scores."""
    needed: set[str] = set()
    waiting = [output]
    while waiting:
        value = waiting.pop()
        if value == image or value in needed:
            continue
        if value not in by_output:
            raise qcli.UsageError(
                f"{label}: the scores depend on {value}, which is no first output of a node "
                "between the images and the scores"
            )
        needed.add(value)
        waiting += by_output[value].sources
    return needed
