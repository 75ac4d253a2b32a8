"""What makes the host wait for a device: numbers, and sizes of results, that it must know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# The host needs a number (item, bool, float, int, equal), or how much is returned.
_NUMBERS = {"_local_scalar_dense", "is_nonzero", "equal", "allclose"}
_SIZES = {"nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive"}
_SIZES |= {"bincount", "histc"}
# The documentation of torch.linalg says of which functions that they synchronize; where a check of
# errors is the only reason, it is an operation of its own, which the `_ex` forms leave out.
_LINALG = {"_linalg_check_errors", "linalg_eig", "_linalg_eigh", "_linalg_eigvals", "_linalg_svd"}
_LINALG |= {"linalg_lstsq", "_linalg_eigvalsh", "linalg_eigvals"}
WAITING = frozenset(_NUMBERS | _SIZES | _LINALG)

_READING = frozenset({Tensor.cpu, Tensor.tolist, Tensor.numpy, Tensor.__array__})


def find_wait(name: str, args: Sequence[Any], given: Mapping[str, Any]) -> str | None:
    """Return why a call of ATen makes the host wait; None: it does not.

    Args:
        name: The operation, such as "nonzero".
        args: Its positional arguments.
        given: Its keyword arguments.
    """
    if name in WAITING:
        return name
    if name == "repeat_interleave" and given.get("output_size") is None:
        return "repeat_interleave of a tensor without output_size"
    if name == "lift_fresh":
        return "a tensor made of Python numbers, which travels to the device"
    if name in ("copy_", "_to_copy"):
        return _find_travel(args, given)
    if name.strip("_") in ("index", "index_put", "index_put_impl"):
        return _find_mask(args)
    return None


def _find_travel(args: Sequence[Any], given: Mapping[str, Any]) -> str | None:
    """Say that a copy goes from one device to another, which is a wait unless it is told not to."""
    if len(args) > 1:
        # copy_(target, source, non_blocking)
        source, target, goes_on = args[1].device, args[0].device, args[2:] == (True,)
    else:
        source = args[0].device
        target = torch.device(given.get("device") or source)
        goes_on = bool(given.get("non_blocking"))
    waits = source.type != target.type and not goes_on
    return f"a copy from {source.type} to {target.type}" if waits else None


def _find_mask(args: Sequence[Any]) -> str | None:
    """Say that a mask is an index: how many numbers it chooses is unknown.

    With one number to write, torch fills by the mask instead, which waits for nothing.
    """
    masks = (torch.bool, torch.uint8)
    masked = any(each is not None and each.dtype in masks for each in args[1])
    fills = len(args) > 2 and args[2].numel() == 1
    return "a mask as an index" if masked and not fills else None


class Readings(TorchFunctionMode):
    """Notes calls that read a tensor on the host: on the CPU no operation of torch shows them.

    Args:
        waits: Where they are noted.
    """

    def __init__(self, waits: list[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, and note what it reads."""
        if func in _READING:
            self.waits.append(func.__name__)
        return func(*args, **(kwargs or {}))
