"""A graph as JSON and named arrays.

A node is {"operation": its class, and its fields}. A field that is an array is an object: the
facts of its form, and for each part the name NODE/FIELD/PART of an array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcli.deployment.array_forms import (
    Stored,
    restore,
    store_boundaries,
    store_levels,
    store_whole,
)
from qcli.deployment.field_types import require_facts, require_types
from qcli.deployment.graph import Graph, Integers, Node, Quantize, Tensor

Arrays = dict[str, NDArray[Any]]

_OPERATIONS = {operation.__name__: operation for operation in Node.__subclasses__()}


def store_graph(graph: Graph) -> tuple[dict[str, Any], Arrays]:
    """Return the JSON value and the arrays of a graph."""
    arrays: Arrays = {}
    nodes = []
    for node in graph.nodes:
        document = _store_node(node)
        for field, stored in store_arrays(node).items():
            names = {part: f"{node.name}/{field}/{part}" for part in stored.parts}
            document[field] = {**stored.facts, **names}
            arrays.update({names[part]: values for part, values in stored.parts.items()})
        nodes.append(document)
    return {"image": asdict(graph.image), "nodes": nodes, "facts": dict(graph.facts)}, arrays


def store_arrays(node: Node) -> dict[str, Stored]:
    """Return the arrays of a node by field, each in its form."""
    values = {each.name: getattr(node, each.name) for each in fields(node)}
    return {
        field: _store_array(node, field, value)
        for field, value in values.items()
        if isinstance(value, np.ndarray)
    }


def _store_array(node: Node, field: str, values: Integers) -> Stored:
    if field == "weight":
        return store_levels(values)
    if field == "boundaries" and isinstance(node, Quantize):
        return store_boundaries(values, node.shift)
    return store_whole(values)


def _store_node(node: Node) -> dict[str, Any]:
    """Return what a node is but for its arrays."""
    values = {each.name: getattr(node, each.name) for each in fields(node)}
    kept = {key: value for key, value in values.items() if not isinstance(value, np.ndarray)}
    return {"operation": type(node).__name__, **kept, "output": asdict(node.output)}


def restore_graph(document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Graph:
    """Return the graph that was stored.

    Raises:
        KeyError, TypeError, ValueError: It is no graph.
    """
    require_facts(document["facts"])
    nodes = tuple(_restore_node(each, arrays) for each in document["nodes"])
    return Graph(_restore_tensor(document["image"]), nodes, document["facts"])


def _restore_node(document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Node:
    given = {key: value for key, value in document.items() if key not in ("operation", "output")}
    values: dict[str, Any] = {
        key: _restore_array(value, arrays) if isinstance(value, dict) else _freeze(value)
        for key, value in given.items()
    }
    node = _OPERATIONS[document["operation"]](output=_restore_tensor(document["output"]), **values)
    require_types(node)
    return node


def _restore_array(field: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Integers:
    parts = {key: arrays[value] for key, value in field.items() if isinstance(value, str)}
    return restore(Stored(parts, field))


def _restore_tensor(document: Mapping[str, Any]) -> Tensor:
    tensor = Tensor(**{key: _freeze(value) for key, value in document.items()})
    require_types(tensor)
    return tensor


def _freeze(value: Any) -> Any:
    """Return lists as the tuples that they were."""
    return tuple(_freeze(each) for each in value) if isinstance(value, list) else value
