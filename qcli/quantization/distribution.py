"""How the values of a tensor are spread before and after quantization, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qcli.quantization.health import MOST_LEVELS, count_levels
from qcli.quantization.plan import Plan
from qcli.quantization.quantizer import Quantizer
from qcli.quantization.surgery import latents, quantizers

MOST_BINS = 60
FEWEST_BINS = 10
# So many values say where the tails of a tensor begin; what lies in them is in no bin.
SAMPLE = 1 << 18
TAIL = 0.0005


@dataclass(frozen=True)
class Histogram:
    """Counts in bins of equal width.

    Args:
        low: Where the first bin begins.
        high: Where the last one ends.
        counts: Of each bin.
        outside: Values that lie in none.
    """

    low: float
    high: float
    counts: tuple[int, ...]
    outside: int


@dataclass(frozen=True)
class Distribution:
    """One slot of one layer.

    Args:
        layer: Dotted name.
        slot: "weight", "input" or "output".
        count: How many values there are.
        before: The float values.
        after: What is used in their place where values change and none is rounded: a clamp.
        levels: The values that can be used, ascending, of a codebook for each channel their means;
            empty where nothing is rounded.
        used: How many values each level has.
        signal_to_noise: Power of the float values over that of the rounding error, in dB; None
            where no number is rounded, or without an error.
    """

    layer: str
    slot: str
    count: int
    before: Histogram
    after: Histogram | None = None
    levels: tuple[float, ...] = ()
    used: tuple[int, ...] = ()
    signal_to_noise: float | None = None

    @property
    def dead(self) -> int:
        """How many levels no value has."""
        return self.used.count(0)


@torch.no_grad()
def describe_weights(model: nn.Module, plan: Plan) -> list[Distribution]:
    """Describe the weight of every layer of a plan, float ones too; the network is in eval mode."""
    latent_of = latents(model)
    served = {layer: each for layer, slot, each in quantizers(model) if slot == "weight"}
    found = []
    for row in plan.layers:
        quantizer = served.get(row.layer)
        if quantizer is not None:
            found.append(_describe(row.layer, "weight", quantizer, latent_of[quantizer].detach()))
        elif row.weights:
            weight: Any = model.get_submodule(row.layer).weight
            found.append(_plain(row.layer, "weight", weight.detach()))
    return found


@contextmanager
def describing_values(model: nn.Module) -> Iterator[Mapping[str, Distribution]]:
    """Describe what each quantizer of an input or output meets first, by "layer.slot"."""
    found: dict[str, Distribution] = {}

    def watch(layer: str, slot: str, quantizer: Quantizer) -> Any:
        def look(_: Any, args: tuple[Any, ...]) -> None:
            if f"{layer}.{slot}" not in found:
                found[f"{layer}.{slot}"] = _describe(layer, slot, quantizer, args[0].detach())

        return quantizer.register_forward_pre_hook(look)

    hooks = [watch(*each) for each in quantizers(model) if each[1] != "weight"]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _describe(layer: str, slot: str, quantizer: Quantizer, latent: Tensor) -> Distribution:
    if not quantizer.quantizes:
        return _plain(layer, slot, latent, quantizer.forward(latent))
    values, codes = quantizer.continuous(latent).float(), quantizer.codes(latent)
    book = quantizer.codebook().detach().float().sort(-1).values
    # A latent of another shape is a choice between levels: no number was rounded.
    rounds = latent.shape == codes.shape
    levels = tuple((book if book.dim() == 1 else book.mean(0)).tolist())
    return Distribution(
        layer,
        slot,
        values.numel(),
        make_histogram(values, (levels[0], levels[-1]) if len(levels) <= MOST_LEVELS else ()),
        levels=levels,
        used=tuple(count_levels(quantizer, codes).tolist()),
        signal_to_noise=find_signal_to_noise(values, quantizer.decode(codes)) if rounds else None,
    )


def _plain(layer: str, slot: str, values: Tensor, used: Tensor | None = None) -> Distribution:
    """Describe values of which none is rounded."""
    values = values.float()
    changes = used is not None and not torch.equal(values, used.float())
    after = make_histogram(used.float()) if used is not None and changes else None
    return Distribution(layer, slot, values.numel(), make_histogram(values), after)


def make_histogram(values: Tensor, wanted: tuple[float, ...] = ()) -> Histogram:
    """Count values in bins between the tails, which hold a thousandth of the values.

    Args:
        values: Float32, of any shape.
        wanted: Numbers that the bins reach in any case.
    """
    flat = values.flatten()
    finite = flat[flat.isfinite()]
    sample = finite[:: max(1, -(-len(finite) // SAMPLE))].sort().values
    cut = round(TAIL * len(sample))
    tails = [float(sample[cut]), float(sample[-1 - cut])] if len(sample) else []
    ends = [*tails, *wanted] or [0.0]
    low, high = min(ends), max(ends)
    if low == high:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    bins = min(MOST_BINS, max(FEWEST_BINS, round(1.5 * len(finite) ** 0.5)))
    counts = finite.histc(bins, low, high).long().tolist()
    return Histogram(low, high, tuple(counts), flat.numel() - sum(counts))


def find_signal_to_noise(values: Tensor, rounded: Tensor) -> float | None:
    """Return 10 log10(sum x^2 / sum (x - q)^2) in dB; None where that is no number."""
    signal = float(values.double().square().sum())
    noise = float((values.double() - rounded.double()).square().sum())
    if not (signal > 0 and noise > 0 and math.isfinite(signal) and math.isfinite(noise)):
        return None
    return 10 * math.log10(signal / noise)
