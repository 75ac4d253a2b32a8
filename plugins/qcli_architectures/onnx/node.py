"""One operation of an ONNX graph, with what is known of its inputs. No torch in here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

import qcli
from qcli_architectures.onnx.file import Shape

Array = NDArray[Any]

# Their other inputs are settings, for which shapes may be computed.
_ONE_SOURCE = ("Clip", "Dropout", "Pad", "ReduceMean", "Reshape", "Slice", "Squeeze", "Unsqueeze")


@dataclass(frozen=True)
class Node:
    """One operation.

    Args:
        name: Unique, letters, digits and underscores: the module's name.
        op: The ONNX operation: "Conv".
        place: Where it stands, for messages.
        inputs: Names of values; "" where one is left out.
        output: Name of the first value that it returns.
        attributes: Of the ONNX node.
        constants: Every value of the graph that is known.
        shapes: Every shape of the graph that is known, with the batch.
    """

    name: str
    op: str
    place: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]
    constants: Mapping[str, Array]
    shapes: Mapping[str, Shape]

    @property
    def sources(self) -> list[str]:
        """The inputs that come from other nodes or from the images."""
        found = [name for name in self.inputs if name and name not in self.constants]
        return found[:1] if self.op in _ONE_SOURCE else found

    def find(self, position: int) -> Array | None:
        """Return a constant input; None where it is left out.

        Raises:
            UsageError: It is computed from the images.
        """
        name = self.inputs[position] if position < len(self.inputs) else ""
        if name and name not in self.constants:
            raise self.refuse(f"its input {position + 1}, {name}, is computed, allowed: a constant")
        return self.constants.get(name)

    def constant(self, position: int) -> Array:
        """Return a constant input; raises UsageError where it is left out or computed."""
        value = self.find(position)
        if value is None:
            raise self.refuse(f"its input {position + 1} is left out")
        return value

    def option(self, name: str, position: int, default: Any) -> Any:
        """Return what is an attribute in old opsets and an input in newer ones."""
        value = self.find(position)
        if value is not None:
            return value.tolist()
        return self.attributes.get(name, default)

    def input_shape(self) -> Shape:
        """Return the shape of what the node receives; raises UsageError where it is unknown."""
        return self._shape(self.inputs[0])

    def output_shape(self) -> Shape:
        """Return the shape of what the node returns; raises UsageError where it is unknown."""
        return self._shape(self.output)

    def _shape(self, value: str) -> Shape:
        if value not in self.shapes:
            raise self.refuse(f"the shape of {value} cannot be inferred")
        return self.shapes[value]

    def refuse(self, text: str) -> qcli.UsageError:
        """Return the error that says what is wrong with the node."""
        return qcli.UsageError(f"{self.place}: {text}")
