"""Look at a float network before anything is planned: its layers, their calls, costs, neighbors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from qcli.errors import PlanError
from qcli.quantization.nonnegative import find_nonnegative
from qcli.quantization.parts import PASSING, find_parts

QUANTIZABLE = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.PReLU, nn.Identity)
# They keep the scale of what they receive.
HOMOGENEOUS = (nn.ReLU, nn.PReLU, nn.Identity, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


@dataclass
class Visit:
    """What one forward pass showed of a module.

    Args:
        calls: How often it was called.
        macs: Multiply-accumulates for one image, of all calls.
        input_shape: Of one sample.
        output_shape: Of one sample.
        order: Its place among the modules, by first call.
        sources: The modules that returned what it receives, a block after the last of its parts.
    """

    calls: int = 0
    macs: int = 0
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    order: int = -1
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Survey:
    """What is known of a network.

    Args:
        visits: By dotted name, every module that one forward pass called.
        producers: By dotted name, the module whose output the module receives.
        consumers: By dotted name, the module that receives the module's output.
        nonnegative: The modules whose "input" and "output" cannot be negative.
        parts: By dotted name, the modules whose outputs meet in what the module receives.
    """

    visits: dict[str, Visit] = field(default_factory=dict)
    producers: dict[str, str] = field(default_factory=dict)
    consumers: dict[str, str] = field(default_factory=dict)
    nonnegative: Mapping[str, set[str]] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def visit(self, name: str) -> Visit:
        """Return what was seen of a module; a module that was never called has 0 calls."""
        return self.visits.get(name, Visit())

    def called(self, model: nn.Module) -> list[str]:
        """Return the quantizable layers in the order of their first call."""
        names = [name for name, _ in quantizable_layers(model) if self.visit(name).calls]
        return sorted(names, key=lambda name: self.visits[name].order)


def quantizable_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers that have a weight to quantize, with their dotted names."""
    for name, module in model.named_modules():
        if isinstance(module, QUANTIZABLE):
            yield name, module


def survey_model(model: nn.Module, image_shape: tuple[int, ...]) -> Survey:
    """Call the network once on one empty image, and trace it.

    Args:
        model: On any device, the meta device included.
        image_shape: (C, H, W).

    Raises:
        PlanError: The network cannot take such an image.
    """
    visits = _visits(model, image_shape)
    graph = _trace(model)
    modules = dict(model.named_modules())
    neighbors = _neighbors(graph, modules)
    nonnegative, parts = find_nonnegative(graph, modules), find_parts(graph, modules)
    return Survey(visits, *neighbors, nonnegative, parts)


def _visits(model: nn.Module, image_shape: tuple[int, ...]) -> dict[str, Visit]:
    visits: dict[str, Visit] = {}
    # By identity of a tensor: itself, which must not be freed, and who returned it.
    returned: dict[int, tuple[Tensor, list[str]]] = {}
    hooks = [
        module.register_forward_hook(_recorder(visits, returned, name))
        for name, module in model.named_modules()
        if name
    ]
    training = model.training
    parameter = next(model.parameters(), torch.empty(0))
    image = torch.zeros(1, *image_shape, device=parameter.device, dtype=parameter.dtype)
    try:
        with torch.no_grad():
            model.eval()(image)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise PlanError(
            [f"the network cannot take an image of shape {image_shape}: {reason}"]
        ) from None
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return visits


def _recorder(
    visits: dict[str, Visit], returned: dict[int, tuple[Tensor, list[str]]], name: str
) -> Any:
    def record(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        visit = visits.setdefault(name, Visit(order=len(visits)))
        visit.calls += 1
        if not (args and isinstance(args[0], Tensor) and isinstance(output, Tensor)):
            return
        visit.macs += _macs(module, args[0], output)
        visit.input_shape = tuple(args[0].shape[1:])
        visit.output_shape = tuple(output.shape[1:])
        visit.sources = tuple(returned.get(id(args[0]), (None, ()))[1])
        returned.setdefault(id(output), (output, []))[1].append(name)

    return record


def _macs(module: nn.Module, x: Tensor, y: Tensor) -> int:
    """Multiply-accumulates of one call: each weight meets each position once."""
    if not isinstance(module, QUANTIZABLE):
        return 0
    weight: Any = module.weight
    if isinstance(module, nn.Linear):
        return int(weight.numel()) * math.prod(y.shape[:-1])
    positions = x.shape[2:] if isinstance(module, TRANSPOSED) else y.shape[2:]
    return int(weight.numel()) * math.prod(positions) * x.shape[0]


class _LeafTracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(True for _ in m.children())


def _trace(model: nn.Module) -> fx.Graph:
    """Return the network's graph; an empty one where it cannot be traced."""
    try:
        return _LeafTracer().trace(model)
    except Exception:
        # Tracing runs the network's own Python on proxies: anything may come out of it.
        return fx.Graph()


def _neighbors(
    graph: fx.Graph, modules: Mapping[str, nn.Module]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return who feeds whom."""
    producers: dict[str, str] = {}
    consumers: dict[str, str] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            source = _upstream(node, modules)
            if source:
                producers[node.target] = source
                if not isinstance(modules[node.target], PASSING):
                    consumers.setdefault(source, node.target)
    return producers, consumers


def _upstream(node: fx.Node, modules: Mapping[str, nn.Module]) -> str | None:
    source = node.all_input_nodes[0] if node.all_input_nodes else None
    while source is not None:
        if source.op == "call_module" and not isinstance(modules[str(source.target)], PASSING):
            return str(source.target)
        if source.op != "call_module" and not _keeps_values(source):
            return None
        source = source.all_input_nodes[0] if source.all_input_nodes else None
    return None


def _keeps_values(node: fx.Node) -> bool:
    name = getattr(node.target, "__name__", str(node.target))
    return node.op in ("call_function", "call_method") and name in ("flatten", "view", "reshape")
