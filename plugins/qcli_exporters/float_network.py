"""A fake-quantized network as float32 ONNX operations; a form says what its quantizers become."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from torch import fx, nn

import qcli
from qcli import Deployment, Quantizer
from qcli.deployment.lowering.trace import IMAGES, trace_network
from qcli_exporters.activation_levels import Limits, find_limits
from qcli_exporters.float_call import Call, is_tensor, shape_of
from qcli_exporters.function_operations import write_function
from qcli_exporters.module_operations import WEIGHTED, write_module
from qcli_exporters.onnx_draft import Draft
from qcli_exporters.weight_levels import BookWeight, GridWeight, read_weight, weight_quantizer


class QuantizerForm(Protocol):
    """What quantizers become."""

    def write_weight(self, draft: Draft, name: str, weight: GridWeight) -> str:
        """Add a weight that lies on a grid and return the name of its float32 values."""

    def write_codes(self, draft: Draft, name: str, weight: BookWeight) -> str:
        """Add the codes of a weight that lies on no grid: int32."""

    def write_activation(self, draft: Draft, name: str, quantizer: Quantizer, source: str) -> str:
        """Add the quantization of a tensor and return the name of its float32 values.

        Raises:
            ExportError: The form cannot hold it.
        """


def write_network(deployment: Deployment, form: QuantizerForm) -> tuple[Draft, tuple[int, ...]]:
    """Return the network, from `image` to `logits`, and the shape of the logits of one image.

    Raises:
        ExportError: Layers that ONNX or the form cannot hold, all of them.
    """
    graph = trace_network(deployment.model, deployment.image_shape)
    walk = _Walk(deployment, form)
    for node in graph.nodes:
        walk.visit(node)
    if walk.faults:
        raise qcli.ExportError(list(dict.fromkeys(walk.faults)))
    results = graph.output_node().all_input_nodes
    if len(results) != 1 or shape_of(results[0])[:1] != (IMAGES,):
        raise qcli.ExportError(
            [f"the network returns {len(results)} results; allowed: one tensor [N, ...]"]
        )
    walk.draft.rename(walk.names[results[0]], "logits")
    return walk.draft, shape_of(results[0])[1:]


class _Walk:
    def __init__(self, deployment: Deployment, form: QuantizerForm) -> None:
        self.deployment = deployment
        self.form = form
        self.modules = dict(deployment.model.named_modules())
        self.draft = Draft(taken={"image", "logits"})
        self.names: dict[fx.Node, str] = {}
        self.weights: dict[str, str] = {}
        self.faults: list[str] = []

    def visit(self, node: fx.Node) -> None:
        """Write a call; one that cannot be written is noted, and the walk goes on."""
        if node.op == "output" or not is_tensor(node):
            return
        try:
            self.names[node] = self._write(node)
        except qcli.ExportError as error:
            self.faults.extend(error.faults)
            self.names[node] = node.name

    def _write(self, node: fx.Node) -> str:
        match node.op:
            case "placeholder":
                return self._normalize()
            case "get_attr":
                return self._read(str(node.target))
            case "call_module":
                return self._call_module(node, str(node.target))
        return write_function(Call(self.draft, node, self.names, node.name))

    def _normalize(self) -> str:
        """Turn pixel / 255 into what the network was trained on."""
        if self.deployment.preprocessing["mean"] is None:
            raise qcli.ExportError(
                ["the image: each pixel has a mean of its own; train with another normalization"]
            )
        value = "image"
        for kind, key in (("Sub", "mean"), ("Div", "std")):
            numbers = np.reshape(self.deployment.preprocessing[key], (1, -1, 1, 1))
            constant = self.draft.add_constant(f"image.{key}", numbers)
            value = self.draft.add(kind, value, constant, name=f"image.{kind.lower()}")
        return value

    def _read(self, path: str) -> str:
        found: Any = self.deployment.model
        for part in path.split("."):
            found = getattr(found, part)
        return self.draft.add_constant(path, found.detach().numpy())

    def _call_module(self, node: fx.Node, layer: str) -> str:
        module = self.modules[layer]
        if isinstance(module, Quantizer):
            # It hangs on a block, whose parts are calls of their own.
            received = self.names[node.all_input_nodes[0]]
            return self._quantize(layer.removesuffix("_quantizer"), module, received)
        slots = find_quantizers(module)
        names = dict(self.names)
        call = Call(self.draft, node, names, layer, module, self._weight(layer, module))
        source = node.all_input_nodes[0]
        if "input" in slots:
            _refuse_scale(layer, slots["input"])
            names[source] = self._quantize(f"{layer}.input", slots["input"], call.source)
        result = write_module(call)
        if "output" in slots:
            result = self._quantize(f"{layer}.output", slots["output"], result)
        return result

    def _weight(self, layer: str, module: nn.Module) -> str:
        """Return the name of a layer's weight, added when it is first met."""
        if not isinstance(module, WEIGHTED):
            return ""
        if layer not in self.weights:
            self.weights[layer] = self._add_weight(f"{layer}.weight", module)
        return self.weights[layer]

    def _add_weight(self, name: str, module: nn.Module) -> str:
        quantizer = weight_quantizer(module)
        if quantizer is None:
            plain: Any = module.weight
            return self.draft.add_constant(name, plain.detach().numpy())
        weight = read_weight(module, quantizer)
        if isinstance(weight, GridWeight):
            return self.form.write_weight(self.draft, name, weight)
        return _look_up(self.draft, name, weight, self.form.write_codes(self.draft, name, weight))

    def _quantize(self, name: str, quantizer: Quantizer, source: str) -> str:
        if quantizer.quantizes:
            return self.form.write_activation(self.draft, name, quantizer, source)
        limits = find_limits(quantizer)
        if limits is None:
            kind = type(quantizer).__name__
            raise qcli.ExportError([f"{name}: {kind} has no levels and does not clip"])
        return _clip(self.draft, name, source, limits)


def _look_up(draft: Draft, name: str, weight: BookWeight, codes: str) -> str:
    """Replace codes by the values of a codebook, or of the codebooks of channels."""
    book = weight.codebook
    if book.ndim == 2:
        shape = [-1 if axis == weight.axis else 1 for axis in range(weight.codes.ndim)]
        starts = np.arange(len(book)).reshape(shape) * book.shape[1]
        first = draft.add_constant(f"{name}.first", starts, "INT32")
        codes = draft.add("Add", codes, first, name=f"{name}.places")
    table = draft.add_constant(f"{name}.codebook", book.reshape(-1))
    return draft.add("Gather", table, codes, name=f"{name}.value")


def _clip(draft: Draft, name: str, source: str, limits: Limits) -> str:
    """Cut to limits; infinite ones are left out."""
    bounds = {"low": limits.low, "high": limits.high}
    given = {key: number for key, number in bounds.items() if np.isfinite(number)}
    if not given:
        return source
    names = [
        draft.add_constant(f"{name}.{key}", np.array(bounds[key])) if key in given else ""
        for key in bounds
    ]
    return draft.add("Clip", source, *names, name=name)


def find_quantizers(module: nn.Module) -> dict[str, Quantizer]:
    """Return what hangs on a module by its slot, "input" or "output"."""
    found = {slot: getattr(module, f"{slot}_quantizer", None) for slot in ("input", "output")}
    return {slot: each for slot, each in found.items() if isinstance(each, Quantizer)}


def _refuse_scale(layer: str, quantizer: Quantizer) -> None:
    if quantizer.scales_output:
        raise qcli.ExportError(
            [
                f"layer {layer}, input: its quantizer multiplies the layer's output by its input; "
                "train without that scale"
            ]
        )
