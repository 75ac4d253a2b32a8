"""An ONNX network while it is written: plain records, so that onnx is needed at the end alone."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import qcli

Array = NDArray[Any]


@dataclass(frozen=True)
class Operation:
    """An ONNX node with one output.

    Args:
        kind: `Conv`.
        inputs: Names of operations, constants or the image; "" for one that is left out.
        output: The name of what it makes.
        domain: "" for ONNX's own.
        attributes: As ONNX names them.
    """

    kind: str
    inputs: tuple[str, ...]
    output: str
    domain: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Constant:
    """An ONNX initializer.

    Args:
        numbers: In any type that holds them.
        kind: The element type that they are stored in, as ONNX names it: `FLOAT`, `INT4`.
    """

    numbers: Array
    kind: str


@dataclass
class Draft:
    """What is written so far.

    Args:
        operations: In the order in which they run.
        constants: By name.
        taken: Names that nothing further gets.
    """

    operations: list[Operation] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def add(self, kind: str, *inputs: str, name: str, domain: str = "", **attributes: Any) -> str:
        """Add an operation and return the name of its output: the one given, or near it."""
        output = self._new_name(name)
        self.operations.append(Operation(kind, inputs, output, domain, attributes))
        return output

    def add_constant(self, name: str, numbers: Array, kind: str = "FLOAT") -> str:
        """Add numbers and return their name."""
        label = self._new_name(name)
        self.constants[label] = Constant(numbers, kind)
        return label

    def rename(self, old: str, name: str) -> None:
        """Give another name to what an operation makes."""
        for place, operation in enumerate(self.operations):
            inputs = tuple(name if each == old else each for each in operation.inputs)
            output = name if operation.output == old else operation.output
            self.operations[place] = replace(operation, inputs=inputs, output=output)

    def _new_name(self, name: str) -> str:
        number, candidate = 2, name
        while candidate in self.taken:
            candidate, number = f"{name}~{number}", number + 1
        self.taken.add(candidate)
        return candidate


@dataclass(frozen=True)
class Header:
    """What an ONNX file says of itself.

    Args:
        name: Of the network.
        notes: What a reader of the file must know.
        opset: Version of ONNX's operations.
        ir_version: Of the file format: runtimes refuse newer ones than they know.
        domains: Versions of further operations, by domain.
        metadata: What programs read in it, by key.
    """

    name: str
    notes: str
    opset: int
    ir_version: int
    domains: Mapping[str, int] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Port:
    """An input, an output, or a value whose type is told.

    Args:
        name: Of the value.
        kind: Its element type, as ONNX names it.
        shape: Of one image.
    """

    name: str
    kind: str
    shape: tuple[int, ...]


def save_draft(
    draft: Draft, path: Path, header: Header, image: tuple[int, ...], logits: tuple[int, ...]
) -> None:
    """Write the file; its input is called `image` and its output `logits`, of any batch size N.

    Args:
        draft: The network.
        path: The file.
        header: What it says of itself.
        image: Shape of one image.
        logits: Shape of the output for one image.

    Raises:
        MissingTool: onnx is not installed.
    """
    ports = [Port("image", "FLOAT", image)], [Port("logits", "FLOAT", logits)]
    save_model(make_model(draft, header, *ports), path)


def make_model(
    draft: Draft,
    header: Header,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    told: Sequence[Port] = (),
) -> Any:
    """Return the `onnx.ModelProto`, of any batch size N.

    Args:
        draft: The network.
        header: What it says of itself.
        inputs: What it takes.
        outputs: What it gives.
        told: Further values whose type the file tells.

    Raises:
        MissingTool: onnx is not installed.
    """
    onnx = _import_onnx()
    helper = onnx.helper
    domains = {"": header.opset, **header.domains}
    graph = helper.make_graph(
        [_make_node(helper, each) for each in draft.operations],
        header.name,
        [_make_port(onnx, each) for each in inputs],
        [_make_port(onnx, each) for each in outputs],
        [_make_tensor(onnx, name, each) for name, each in draft.constants.items()],
        value_info=[_make_port(onnx, each) for each in told],
    )
    model = helper.make_model(
        graph,
        doc_string=header.notes,
        producer_name="qcli",
        producer_version=qcli.__version__,
        ir_version=header.ir_version,
        opset_imports=[helper.make_opsetid(*each) for each in domains.items()],
    )
    helper.set_model_props(model, header.metadata)
    return model


def save_model(model: Any, path: Path) -> None:
    """Write an `onnx.ModelProto`."""
    _import_onnx().save_model(model, path, format="protobuf")


def _make_port(onnx: Any, port: Port) -> Any:
    kind = onnx.TensorProto.DataType.Value(port.kind)
    return onnx.helper.make_tensor_value_info(port.name, kind, ["N", *port.shape])


def _import_onnx() -> Any:
    try:
        return importlib.import_module("onnx")
    except ImportError:
        raise qcli.MissingTool("onnx is not installed: pip install 'qcli[onnx]'") from None


def _make_node(helper: Any, operation: Operation) -> Any:
    return helper.make_node(
        operation.kind,
        operation.inputs,
        [operation.output],
        name=operation.output,
        domain=operation.domain,
        **operation.attributes,
    )


def _make_tensor(onnx: Any, name: str, constant: Constant) -> Any:
    kind = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(constant.kind))
    return onnx.numpy_helper.from_array(constant.numbers.astype(kind), name)
