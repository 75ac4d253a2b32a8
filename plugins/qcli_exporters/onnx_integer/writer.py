"""An ONNX network of typed values while it is written, node by node of an integer graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcli.deployment.graph import Node, Tensor
from qcli_exporters.onnx_draft import Draft

# The names of ONNX's element types and their numbers in its files.
ELEMENT_TYPES = {
    "bool": ("BOOL", 9),
    "uint8": ("UINT8", 2),
    "int8": ("INT8", 3),
    "int16": ("INT16", 5),
    "int32": ("INT32", 6),
    "int64": ("INT64", 7),
    "float32": ("FLOAT", 1),
    "float64": ("DOUBLE", 11),
}


@dataclass(frozen=True)
class Value:
    """What an ONNX operation makes.

    Args:
        name: Of the ONNX value.
        dtype: Its element type, as NumPy names it.
        kind: The operation: `Conv`; "" of a constant and of the image.
    """

    name: str
    dtype: str
    kind: str = ""


@dataclass(frozen=True)
class Operand:
    """A tensor of the integer graph and the ONNX value that carries it."""

    tensor: Tensor
    value: Value

    @property
    def reach(self) -> int:
        """The greatest magnitude that it can hold."""
        return max(-self.tensor.low, self.tensor.high)


@dataclass
class Writer:
    """Adds operations, and constants and casts once each.

    Args:
        draft: What is written.
        scope: The node of the integer graph under way: names begin with it.
    """

    draft: Draft = field(default_factory=Draft)
    scope: str = ""
    _constants: dict[tuple[str, tuple[int, ...], bytes], Value] = field(default_factory=dict)
    _casts: dict[tuple[str, str], Value] = field(default_factory=dict)

    def apply(
        self, kind: str, *inputs: Value, dtype: str | None = None, **attributes: Any
    ) -> Value:
        """Add an operation.

        Args:
            kind: `Conv`.
            inputs: What it takes.
            dtype: Of what it makes; None: that of the first input.
            attributes: As ONNX names them.
        """
        names = [each.name for each in inputs]
        name = self.draft.add(kind, *names, name=f"{self.scope}/{kind}", **attributes)
        return Value(name, dtype or inputs[0].dtype, kind)

    def constant(self, numbers: Any, dtype: str) -> Value:
        """Add an initializer, or return that of the same numbers.

        Raises:
            OverflowError: The type does not hold the numbers.
        """
        given = np.asarray(numbers)
        array = given.astype(dtype)
        if not np.array_equal(array, given) and not dtype.startswith("float"):
            raise OverflowError(f"{self.scope}: {dtype} does not hold {given.max()}")
        key = (dtype, array.shape, array.tobytes())
        if key not in self._constants:
            name = self.draft.add_constant(f"{self.scope}/constant", array, ELEMENT_TYPES[dtype][0])
            self._constants[key] = Value(name, dtype)
        return self._constants[key]

    def by_channel(self, numbers: NDArray[Any], tensor: Tensor, dtype: str) -> Value:
        """Add [C] numbers in a shape that broadcasts over the tensor's; one number where equal."""
        axes = len(tensor.shape) - 1
        same = len(np.unique(numbers)) == 1
        return self.constant(numbers[0] if same else numbers.reshape(-1, *[1] * axes), dtype)

    def cast(self, value: Value, dtype: str) -> Value:
        """Return the value in another type."""
        if value.dtype == dtype:
            return value
        key = (value.name, dtype)
        if key not in self._casts:
            number = ELEMENT_TYPES[dtype][1]
            self._casts[key] = self.apply("Cast", value, dtype=dtype, to=number)
        return self._casts[key]

    def reshape(self, value: Value, *shape: int) -> Value:
        """Reshape each sample."""
        return self.apply("Reshape", value, self.constant([-1, *shape], "int64"))

    def rename(self, value: Value, name: str) -> Value:
        """Give a value the name of a tensor; what holds several tensors is copied."""
        if "/" not in value.name:
            value = self.apply("Identity", value)
        self.draft.rename(value.name, name)
        return Value(name, value.dtype, value.kind)


Emit = Callable[[Writer, Node, Sequence[Operand]], Value]
