"""Choosing a value by logits: the expected value, or the likeliest with the expected's gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def choose_values(
    logits: Tensor,
    values: Tensor,
    temperature: Tensor,
    shift: Tensor | None = None,
    final: Tensor | None = None,
    soft: bool = False,
) -> Tensor:
    """Return the values that logits choose: float32, of the shape of one slice of the logits.

    Args:
        logits: [K, ...].
        values: Float32 [K].
        temperature: Float32, 0-d, divides the logits in the softmax.
        shift: Float32, added to the logits: noise, or -inf for a value that cannot be chosen.
        final: Bool, 0-d: whether the choice is the likeliest value and trains nothing.
        soft: Whether the expected value is chosen instead of the likeliest.
    """
    chosen: Tensor = _Choose.apply(logits, values, temperature, shift, final, soft)
    return chosen


def expected_values(logits: Tensor, values: Tensor, temperature: Tensor | float) -> Tensor:
    """Return sum_j p_j v_j, p = softmax(logits / temperature) over the first axis."""
    return _expected(torch.softmax(logits / temperature, 0), values)


class _Choose(torch.autograd.Function):
    """Saves the logits alone, which live anyway, and recomputes the softmax."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        values: Tensor,
        temperature: Tensor,
        shift: Tensor | None,
        final: Tensor | None,
        soft: bool,
    ) -> Tensor:
        ctx.save_for_backward(logits, values, temperature, shift, final)
        scores = _shifted(logits, shift)
        if not soft:
            return _likeliest(scores, values)
        expected = expected_values(scores.float(), values, temperature)
        return (
            expected if final is None else torch.where(final, _likeliest(scores, values), expected)
        )

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        logits, values, temperature, shift, final = ctx.saved_tensors
        chances = torch.softmax(_shifted(logits, shift).float() / temperature, 0)
        expected = _expected(chances, values)
        slope = gradient / temperature
        if final is not None:
            slope = torch.where(final, 0.0, slope)
        for chance, value in zip(chances, values, strict=True):
            chance.mul_(value - expected).mul_(slope)
        return chances.to(logits.dtype), None, None, None, None, None


def _shifted(logits: Tensor, shift: Tensor | None) -> Tensor:
    return logits if shift is None else logits + shift


def _expected(chances: Tensor, values: Tensor) -> Tensor:
    return (chances * values.reshape(-1, *[1] * (chances.dim() - 1))).sum(0)


def _likeliest(scores: Tensor, values: Tensor) -> Tensor:
    """Return the value of the first of the largest scores; a loop beats argmax and a gather."""
    best = scores[0].to(torch.float32, copy=True)
    value, ahead = torch.empty_like(best).copy_(values[0]), torch.empty_like(best)
    for score, candidate in zip(scores[1:].float(), values[1:], strict=True):
        # With the weights 0 and 1, lerp returns one of its ends, bit for bit.
        value.lerp_(candidate, torch.sub(score, best, out=ahead).gt_(0))
        torch.maximum(score, best, out=best)
    return value
