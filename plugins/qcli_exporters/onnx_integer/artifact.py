"""The ONNX file: the network, its logits as the one output, and what else can be observed."""

from __future__ import annotations

import json
from pathlib import Path

from qcli import Deployment
from qcli.deployment.graph import Graph
from qcli_exporters.onnx_draft import Header, Port, make_model, save_model
from qcli_exporters.onnx_integer import fast, strict
from qcli_exporters.onnx_integer.writer import ELEMENT_TYPES, Operand, Value, Writer

FORMS = {"strict": strict, "fast": fast}
OBSERVED = "qcli.observed"
OPSET = 21
IR_VERSION = 10

_NOTES = (
    "Input: pixels 0 to 255, uint8. Output: whole numbers; the score of a class is its logit "
    "divided by 2^{shift}. Written in the {form} form."
)


def write_onnx_integer(deployment: Deployment, path: Path, *, form: str = "strict") -> None:
    """Write an integer network for onnxruntime.

    Args:
        deployment: The network.
        path: The file.
        form: `strict`: bytes and int32, no float; `fast`: whole numbers in float32, and float
            arithmetic where it is proved to give every code.

    Raises:
        ExportError: A layer is too large.
        MissingTool: onnx is not installed.
    """
    graph = deployment.integers
    writer, values = _write_nodes(graph, form)
    ports = [
        Port(name, ELEMENT_TYPES[values[name].dtype][0], graph.tensors[name].shape)
        for name in graph.observed
    ]
    types = {name: graph.tensors[name].dtype for name in graph.observed}
    header = Header(
        name=deployment.name,
        notes=_NOTES.format(shift=graph.logits.shift, form=form),
        opset=OPSET,
        ir_version=IR_VERSION,
        metadata={OBSERVED: json.dumps(types)},
    )
    image = Port(graph.image.name, "UINT8", graph.image.shape)
    save_model(make_model(writer.draft, header, [image], [ports[-1]], ports[:-1]), path)


def _write_nodes(graph: Graph, form: str) -> tuple[Writer, dict[str, Value]]:
    writer, emitter = Writer(), FORMS[form]
    values = {graph.image.name: Value(graph.image.name, "uint8")}
    tensors = graph.tensors
    for node in graph.nodes:
        writer.scope = node.name
        operands = [Operand(tensors[name], values[name]) for name in node.inputs]
        value = emitter.emit(writer, node, operands)
        dtype = "int64" if node is graph.logits else emitter.carrier(node.output)
        values[node.name] = writer.rename(writer.cast(value, dtype), node.name)
    return writer, values
