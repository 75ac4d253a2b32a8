"""What the codes of a quantizer say about its health: numbers, without a judgement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from qcli.quantization.ops import all_reduce_sum
from qcli.quantization.quantizer import Quantizer

# By name, what is known of one quantizer: see `describe` and `Quantizer.health`.
Numbers = Mapping[str, float]
# By "layer.slot", the numbers of every quantizer after an epoch.
Health = Mapping[str, Numbers]
# So many are recorded of a codebook after each epoch.
MOST_LEVELS = 16


def count_levels(quantizer: Quantizer, codes: Tensor) -> Tensor:
    """Return how many codes each level has, from the smallest value to the largest: int64 [K]."""
    book = quantizer.codebook().detach()
    if book.dim() == 1:
        order = book.argsort(stable=True)
        return torch.bincount(codes.flatten(), minlength=len(book))[order]
    ranks = book.argsort(stable=True).argsort(stable=True)
    rows = codes.movedim(quantizer.info.channel_axis, 0).reshape(len(book), -1)
    return torch.bincount(ranks.gather(1, rows.long()).flatten(), minlength=book.shape[1])


def describe(counts: Tensor, role: str) -> dict[str, float]:
    """Return how levels are used.

    levels: how many there are; count: values looked at; unused: levels that no value has;
    fullest: share of the level that most values have; ends: share of weights in the lowest and
    the highest level; top: share of inputs or outputs in the highest.

    Args:
        counts: int64 [K], from the smallest value to the largest.
        role: "weight", "input" or "output".
    """
    held = counts.tolist()
    total = max(1, sum(held))
    numbers = {
        "levels": len(held),
        "count": sum(held),
        "unused": held.count(0),
        "fullest": _rounded(max(held) / total),
    }
    if role == "weight":
        return {**numbers, "ends": _rounded((held[0] + held[-1]) / total)}
    return {**numbers, "top": _rounded(held[-1] / total)}


@torch.no_grad()
def narrow_codes(quantizer: Quantizer, latent: Tensor) -> Tensor | None:
    """Return the codes of a weight in as few bytes as hold them; None while it is float."""
    if not quantizer.quantizes:
        return None
    dtype = torch.uint8 if quantizer.bits <= 8 else torch.int32
    return quantizer.codes(latent).to(dtype).contiguous()


@torch.no_grad()
def measure_weight(
    quantizer: Quantizer, latent: Tensor, codes: Tensor, before: Tensor | None
) -> dict[str, float]:
    """Return the numbers of a weight.

    flips: share of the codes that differ from those an epoch before, where there are any.

    Args:
        quantizer: Of the weight.
        latent: What is trained.
        codes: Of the latent.
        before: Its codes an epoch before; None: unknown.
    """
    numbers = describe(count_levels(quantizer, codes), "weight")
    if before is not None and before.shape == codes.shape:
        numbers["flips"] = _rounded(float((codes != before).float().mean()))
    return numbers | own_numbers(quantizer, latent)


@torch.no_grad()
def own_numbers(quantizer: Quantizer, latent: Tensor | None) -> dict[str, float]:
    """Return what a quantizer itself says."""
    return {name: _rounded(value) for name, value in quantizer.health(latent).items()}


@torch.no_grad()
def list_levels(quantizer: Quantizer) -> list[float]:
    """Return the levels in ascending order, of a codebook for each channel their means.

    Of more than 16 levels the lowest and the highest alone.
    """
    book = quantizer.codebook().detach().float().sort(-1).values
    levels = book if book.dim() == 1 else book.mean(0)
    ends = levels if len(levels) <= MOST_LEVELS else levels[[0, -1]]
    return [_rounded(level) for level in ends.tolist()]


@contextmanager
def count_met(quantizers: Sequence[Quantizer], samples: int) -> Iterator[dict[Quantizer, Tensor]]:
    """Count the codes of what each quantizer of inputs or outputs meets first.

    Args:
        quantizers: They have a codebook.
        samples: How many of a batch are counted.

    Yields:
        The counts, int64 [K], of those that have met something.
    """
    counts: dict[Quantizer, Tensor] = {}

    def count(quantizer: Any, args: tuple[Any, ...]) -> None:
        if quantizer not in counts:
            counts[quantizer] = count_levels(quantizer, quantizer.codes(args[0][:samples]))

    hooks = [each.register_forward_pre_hook(count) for each in quantizers]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def sum_counts(
    quantizers: Sequence[Quantizer], counts: Mapping[Quantizer, Tensor]
) -> dict[Quantizer, Tensor]:
    """Return the counts of all processes together, in one exchange."""
    if not quantizers:
        return {}
    books = [each.codebook() for each in quantizers]
    none = [torch.zeros(book.shape[-1], dtype=torch.int64, device=book.device) for book in books]
    held = [counts.get(each, zero) for each, zero in zip(quantizers, none, strict=True)]
    sums = all_reduce_sum(torch.cat(held))
    ends = torch.tensor([len(each) for each in held]).cumsum(0)[:-1]
    return dict(zip(quantizers, sums.tensor_split(ends), strict=True))


def _rounded(value: float) -> float:
    """Keep six digits, however small the number is."""
    return float(f"{value:.6g}")
