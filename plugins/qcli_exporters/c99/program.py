"""The steps of a graph in C: one function each, tensors as they lie in memory.

A product whose sums are read once, by a quantizer or the scores, is computed inside of that
step: its sums are never stored. A linear layer is a convolution whose window is the whole image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from qcli.deployment.graph import (
    Convolution,
    Graph,
    Linear,
    Logits,
    Lookup,
    Node,
    Quantize,
    Reshape,
    Signs,
)
from qcli_exporters.c99.reordering import quantize_early
from qcli_exporters.c99.stored import Shape, Stored, lie_alike

ELEMENTWISE = (Lookup, Quantize, Signs)


@dataclass(frozen=True)
class Step:
    """What one function computes.

    Args:
        node: The operation that makes the output; its inputs are names of stored tensors.
        product: The convolution whose sums are the input of that name, where it is not stored.
    """

    node: Node
    product: Convolution | None = None

    @property
    def parameters(self) -> dict[str, str]:
        """The stored tensors that it reads, by the name of the C parameter.

        Input number j of the node is `in<j>`, and what the product reads is `source`.
        """
        inputs = {f"in{j}": name for j, name in enumerate(self.node.inputs)}
        if self.product is None:
            return inputs
        stored = {key: name for key, name in inputs.items() if name != self.product.name}
        return {**stored, "source": self.product.inputs[0]}


@dataclass(frozen=True)
class Program:
    """What is computed, in order.

    Args:
        steps: One function each.
        stored: How each tensor lies, by name.
        homes: The tensor in whose memory one lies that is not made by a step, by name.
    """

    steps: tuple[Step, ...]
    stored: Mapping[str, Stored]
    homes: Mapping[str, str]

    def home(self, name: str) -> str:
        """Return the tensor that was written where this one is read."""
        while name in self.homes:
            name = self.homes[name]
        return name


def make_program(graph: Graph) -> Program:
    """Lay out the tensors and join products with what reads them."""
    layout = _Layout(graph)
    for node in quantize_early(graph):
        layout.add(node)
    steps = tuple(map(Step, layout.nodes))
    return _join_products(Program(steps, layout.stored, layout.homes))


class _Layout:
    """Decides how each tensor lies, and copies where a node needs it otherwise."""

    def __init__(self, graph: Graph) -> None:
        image = graph.image
        flat = (image.shape[0] * image.shape[1] * image.shape[2],)
        frame = image.shape if lie_alike(flat, image.shape) else flat
        self.stored: dict[str, Stored] = {image.name: Stored(image, frame)}
        self.homes: dict[str, str] = {}
        self.nodes: list[Node] = []

    def add(self, node: Node) -> None:
        """Add a node of the graph, and the copies that it needs."""
        match node:
            case Reshape():
                self._reshape(node)
            case Linear():
                self._linear(node)
            case Logits():
                self._scores(node)
            case _ if isinstance(node, ELEMENTWISE):
                self._elementwise(node)
            case _:
                self._append(node, [self._natural(name) for name in node.inputs])

    def _append(self, node: Node, inputs: list[str], frame: Shape | None = None) -> None:
        self.nodes.append(replace(node, inputs=tuple(inputs)))
        self.stored[node.name] = Stored(node.output, frame or node.output.shape)

    def _natural(self, name: str) -> str:
        """Return the tensor, or a copy of it that lies channels last."""
        stored = self.stored[name]
        if stored.is_natural:
            return name
        copy = f"{name}, channels last"
        if copy not in self.stored:
            output = replace(stored.tensor, name=copy)
            self._append(Reshape((name,), output), [name])
        return copy

    def _reshape(self, node: Reshape) -> None:
        source, shape = self.stored[node.inputs[0]], node.output.shape
        frame = source.frame if len(shape) == 1 else shape
        if source.tensor.dtype == node.output.dtype and lie_alike(source.frame, frame):
            self.stored[node.name] = Stored(node.output, frame)
            self.homes[node.name] = node.inputs[0]
        else:
            self._append(node, list(node.inputs))

    def _linear(self, node: Linear) -> None:
        (name,) = node.inputs
        if len(self.stored[name].frame) > 3:
            name = self._natural(name)
        kernel = image_of(self.stored[name].frame)
        window = Convolution(
            (name,),
            node.output,
            weight=node.weight.reshape(len(node.weight), *kernel),
            layer=node.layer,
            plane=node.plane,
        )
        self._append(window, [name])

    def _scores(self, node: Logits) -> None:
        # The header promises int64, whatever their range.
        bounds = np.iinfo(np.int64)
        output = replace(node.output, low=int(bounds.min), high=int(bounds.max))
        natural = [self._natural(name) for name in node.inputs]
        self._append(replace(node, output=output), natural)

    def _elementwise(self, node: Node) -> None:
        frames = [self.stored[name].frame for name in node.inputs]
        flat = len(node.output.shape) == 1
        if flat and all(lie_alike(frame, frames[0]) for frame in frames):
            self._append(node, list(node.inputs), frames[0])
        else:
            self._append(node, [self._natural(name) for name in node.inputs])


def image_of(frame: Shape) -> tuple[int, int, int]:
    """Return the frame as [C, H, W]: [C] has one pixel, [C, L] one row."""
    channels, *rest = frame
    height, width = [1] * (2 - len(rest)) + rest
    return channels, height, width


def _join_products(program: Program) -> Program:
    """Move each product that can be into the step that reads it, the last of several."""
    nodes = [step.node for step in program.steps]
    uses = Counter(program.home(name) for node in nodes for name in node.inputs)
    products = {node.name: node for node in nodes if isinstance(node, Convolution)}
    joined: dict[str, Step] = {}
    inside: set[str] = set()
    for node in nodes:
        reads = node.inputs if isinstance(node, Quantize | Logits) else ()
        homes = {name: program.home(name) for name in reads}
        once = [name for name, home in homes.items() if home in products and uses[home] == 1]
        for name in once[-1:]:
            product = products[homes[name]]
            # The step knows the product by the name under which it is read.
            renamed = replace(product, output=replace(product.output, name=name))
            joined[node.name] = Step(node, renamed)
            inside.add(product.name)
    steps = (joined.get(step.node.name, step) for step in program.steps)
    return replace(program, steps=tuple(step for step in steps if step.node.name not in inside))
