"""A staircase of learned levels: one walk over its boundaries gives values, counts and sums."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def climb(
    x: Tensor, levels: Tensor, shape: tuple[int, ...], *, passes_all: bool, tallies: bool
) -> tuple[Tensor, Tensor]:
    """Return the level nearest to each value, and what each level has met.

    A value on the boundary of two levels takes the lower one. The gradient passes everywhere, or
    where x <= the highest level.

    Args:
        x: Of any shape and dtype.
        levels: Float32, ascending: [K], or [O, K].
        shape: In which one number of each row of levels broadcasts over x.
        passes_all: Whether the gradient passes above the highest level.
        tallies: Whether the tally is asked for, which takes longer than the rest.

    Returns:
        The levels taken, of the shape and dtype of x; a tally as `tally_levels` returns it, or
        zeros.
    """
    climbed: tuple[Tensor, Tensor] = _Climb.apply(x, levels, shape, passes_all, tallies)
    return climbed


def find_boundaries(levels: Tensor) -> Tensor:
    """Return the middle of each two neighbors: [K - 1], or [O, K - 1]."""
    return (levels[..., 1:] + levels[..., :-1]) / 2


def tally_levels(x: Tensor, levels: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return how many values take each level, and their sums: float64 [2, K], or [2, O, K].

    Args:
        x: Float32, of any shape.
        levels: As for `climb`.
        shape: As for `climb`.
    """
    return _walk(x, levels, shape, tallies=True)[1]


def _walk(
    x: Tensor, levels: Tensor, shape: tuple[int, ...], tallies: bool
) -> tuple[Tensor, Tensor]:
    value = torch.zeros_like(x).add_(levels[..., 0].reshape(shape))
    beyond = []
    if tallies:
        total = x.sum_to_size(shape).double()
        beyond.append(torch.stack([torch.full_like(total, x.numel() / total.numel()), total]))
    for boundary, level in zip(
        find_boundaries(levels).unbind(-1), levels[..., 1:].unbind(-1), strict=True
    ):
        above = (x - boundary.reshape(shape)).gt_(0)
        # With the weights 0 and 1, lerp returns one of its ends, bit for bit. Compiled, it takes no
        # end of another rank in channels_last.
        value.lerp_(level.reshape(shape).expand_as(value), above)
        if tallies:
            beyond.append(_tally(above, x, shape))
    if not tallies:
        return value, levels.new_zeros(2, *levels.shape)
    # A level has what lies beyond the boundary below it, less what lies beyond the one above.
    beyond.append(torch.zeros_like(beyond[0]))
    tally = -torch.stack(beyond, -1).diff()
    return value, tally.reshape(2, *levels.shape)


def _tally(chosen: Tensor, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return how many are chosen, and the sum of those; the mask is used up."""
    count = chosen.sum_to_size(shape)
    return torch.stack([count, chosen.mul_(x).sum_to_size(shape)]).double()


class _Climb(torch.autograd.Function):
    """Saves its input alone."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        levels: Tensor,
        shape: tuple[int, ...],
        passes_all: bool,
        tallies: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*() if passes_all else (x, levels[-1]))
        value, tally = _walk(x.float(), levels, shape, tallies)
        ctx.mark_non_differentiable(tally)
        return value.to(x.dtype), tally

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None, None, None]:
        if not ctx.saved_tensors:
            return gradient, None, None, None, None
        x, highest = ctx.saved_tensors
        passed = (x.float() - highest).le_(0).mul_(gradient)
        return passed.to(gradient.dtype), None, None, None, None
