"""Nested Python values with tensors in a safetensors file: what a pickle holds, without its powers.

The file's metadata hold a tree in JSON. A list, a tuple, a dictionary or a tensor is an object
there with one key that says which; all else stands for itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

_TREE = "tree"


def write_state(value: Any, path: Path) -> None:
    """Write a value.

    Args:
        value: None, a truth value, a number, a text or a tensor, or lists, tuples and dictionaries
            of these; keys are numbers or texts.
        path: The file; raises what safetensors does where the disk refuses it.

    Raises:
        TypeError: A value is of another type.
    """
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_encode(value, tensors))
    save_file(tensors, path, {_TREE: tree})


def read_state(path: Path) -> Any:
    """Return what `write_state` wrote, tensors on the CPU, laid out in memory as they were.

    Raises:
        OSError: The file is missing.
        SafetensorError: It is damaged.
        Exception: It is another safetensors file; the type depends on what is wrong.
    """
    with safe_open(path, "pt") as file:
        tree = json.loads(file.metadata()[_TREE])
        names: list[str] = file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
    return _decode(tree, tensors)


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Tensor():
            name, order = str(len(tensors)), _memory_order(value)
            tensors[name] = value.permute(order).contiguous()
            return {"tensor": name, "order": order}
        case list() | tuple():
            return {type(value).__name__: [_encode(each, tensors) for each in value]}
        case dict():
            items = [[_encode_key(key), _encode(each, tensors)] for key, each in value.items()]
            return {"dict": items}
    raise TypeError(f"a {type(value).__name__} cannot be kept in a state file")


def _encode_key(key: Any) -> int | str:
    if type(key) not in (int, str):
        raise TypeError(f"a {type(key).__name__} cannot be a key in a state file")
    named: int | str = key
    return named


def _decode(node: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    match node:
        case {"tensor": name, "order": order}:
            # A copy: what the file is mapped into must not be trained in place.
            own = tensors[name].clone()
            return own.permute([order.index(place) for place in range(len(order))])
        case {"list": items}:
            return [_decode(each, tensors) for each in items]
        case {"tuple": items}:
            return tuple(_decode(each, tensors) for each in items)
        case {"dict": items}:
            return {key: _decode(each, tensors) for key, each in items}
    raise ValueError(f"no such node: {list(node)}")


def _memory_order(tensor: Tensor) -> list[int]:
    """Return the dimensions from the widest stride to the narrowest.

    safetensors keeps no strides, and an optimizer that steps through memory otherwise may round
    otherwise.
    """
    if tensor.layout != torch.strided:
        raise TypeError(f"a {tensor.layout} tensor cannot be kept in a state file")
    return sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
