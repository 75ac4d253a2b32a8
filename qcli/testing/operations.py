"""Counting what torch does: operations, the bytes that they move, and where the host waits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from qcli.testing.waiting import Readings, find_wait

# They work on no memory: it is only taken, or seen anew, or a profiler is told.
_FREE = {"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"}
_FREE |= {"_unsafe_view", "_record_function_enter_new", "_record_function_exit"}
# They change a tensor in place without reading it.
_OVERWRITING = {"copy_", "fill_", "zero_", "uniform_", "normal_", "bernoulli_", "exponential_"}
_OVERWRITING |= {"random_", "geometric_", "log_normal_", "cauchy_"}


class Operations:
    """Counts the operations of torch inside a `with` block, of autograd too.

    An operation is a call of ATen that works on memory, as autograd and devices see it: views and
    memory that is only taken are none, and an operation on a list of tensors is one. It moves each
    tensor that it reads once and each that it writes once; what a tensor repeats by broadcasting
    is one number; `copy_`, `fill_` and their like do not read what they overwrite. What an
    operation moves beyond that, inside itself, is not seen.

    Attributes:
        names: The operations, in order.
        moved_bytes: What they read and write, together.
        waits: What made the host wait for the device, or would on one that is not the CPU.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.moved_bytes = 0
        self.waits: list[str] = []
        self._modes = ExitStack()

    def __enter__(self) -> Operations:
        modes: tuple[Any, ...] = (Readings(self.waits), _Calls(self._count))
        for mode in modes:
            self._modes.enter_context(mode)
        return self

    def __exit__(self, *raised: object) -> None:
        self._modes.close()

    def _count(self, func: Any, args: Sequence[Any], given: Mapping[str, Any], result: Any) -> None:
        name = func.overloadpacket.__name__
        wait = find_wait(name, args, given)
        if wait is not None:
            self.waits.append(wait)
        if name not in _FREE and not _is_view(func):
            self.names.append(name)
            self.moved_bytes += _moved_bytes(func, args, given, result)


class _Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Tells of each call of ATen after it, with its arguments and its result."""

    def __init__(self, tell: Callable[..., None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tell = tell

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        self.tell(func, args, given, result)
        return result


def _is_view(func: Any) -> bool:
    """Whether an operation returns tensors that share an argument's memory, and changes none."""
    returned = [each.alias_info for each in func._schema.returns]
    return bool(returned) and all(each is not None and not each.is_write for each in returned)


def _moved_bytes(func: Any, args: Sequence[Any], given: Mapping[str, Any], result: Any) -> int:
    total = 0
    for number, argument in enumerate(func._schema.arguments):
        value = args[number] if number < len(args) else given.get(argument.name)
        size = sum(map(distinct_bytes, tensors_in(value)))
        is_written = argument.alias_info is not None and argument.alias_info.is_write
        overwrites = func.overloadpacket.__name__ in _OVERWRITING
        is_read = not (is_written and (argument.is_out or overwrites))
        total += size * (is_read + is_written)
    results = result if isinstance(result, tuple | list) else (result,)
    for value, returned in zip(results, func._schema.returns, strict=False):
        if returned.alias_info is None:
            total += sum(map(distinct_bytes, tensors_in(value)))
    return total


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors that an argument is, or lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from tensors_in(each)


def distinct_bytes(x: Tensor) -> int:
    """Return the size of a tensor in memory, without what it repeats by broadcasting."""
    if x.layout != torch.strided:
        return x.numel() * x.element_size()
    lengths = (n for n, stride in zip(x.shape, x.stride(), strict=True) if stride or not n)
    return math.prod(lengths) * x.element_size()
