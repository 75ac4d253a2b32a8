"""One call of a traced network, as its translation to ONNX sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

import qcli
from qcli_exporters.onnx_draft import Array, Draft


@dataclass(frozen=True)
class Call:
    """A call of a module or of a function.

    Args:
        draft: Where it is written.
        node: The call in the trace.
        names: What the tensors of earlier calls are called in the draft.
        label: What its result is called.
        module: The module; None: a function is called.
        weight: The name of the module's weight in the draft, where it has one.
    """

    draft: Draft
    node: fx.Node
    names: Mapping[fx.Node, str]
    label: str
    module: Any = None
    weight: str = ""

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operation that makes the result, or a part of it."""
        return self.draft.add(kind, *inputs, name=self.label, **attributes)

    def constant(self, name: str, numbers: Tensor | Array | None, kind: str = "FLOAT") -> str:
        """Add numbers, called after the call; "" where there are none."""
        if numbers is None:
            return ""
        array = numbers.detach().numpy() if isinstance(numbers, Tensor) else numbers
        return self.draft.add_constant(f"{self.label}.{name}", array, kind)

    def integers(self, name: str, numbers: Any) -> str:
        """Add whole numbers such as a shape."""
        return self.constant(name, np.array(numbers), "INT64")

    def scalar(self, name: str, number: float) -> str:
        """Add one number."""
        return self.constant(name, np.array(number))

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return what the call was given by position or by name."""
        if place < len(self.node.args):
            return self.node.args[place]
        return self.node.kwargs.get(name, default)

    def name_of(self, tensor: Any) -> str:
        """Return the name of a tensor that the call was given."""
        if not isinstance(tensor, fx.Node) or tensor not in self.names:
            raise self.refuse(f"it takes {tensor}, which is no tensor of the network")
        return self.names[tensor]

    @property
    def source(self) -> str:
        """The name of the first tensor that the call was given."""
        return self.name_of(self.argument(0, "input"))

    @property
    def source_shape(self) -> tuple[int, ...]:
        """Its shape, with the batch."""
        return shape_of(self.node.all_input_nodes[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result, with the batch."""
        return shape_of(self.node)

    def refuse(self, reason: str) -> qcli.ExportError:
        """Return a fault that names the call."""
        if self.module is not None:
            return qcli.ExportError([f"layer {self.node.target}: {reason}"])
        return qcli.ExportError([f"call {self.node.name} in the network's code: {reason}"])


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of a tensor in a trace; () where it is none."""
    found: Any = node.meta.get("tensor_meta")
    return tuple(found.shape) if hasattr(found, "shape") else ()


def is_tensor(node: fx.Node) -> bool:
    """Whether a call returns one tensor of floats: no shape, and no list of tensors."""
    found = node.meta.get("tensor_meta")
    return isinstance(getattr(found, "dtype", None), torch.dtype)
