"""What a quantizer does to numbers: its curve, its levels, its boundaries and its gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qcli.catalog.entries import QuantizerEntry
from qcli.quantization.plan import build_quantizer
from qcli.quantization.quantizer import Quantizer, TensorInfo
from qcli.recipe.schedule import Progress

NUM_POINTS = 501
STANDARD_DEVIATION = 0.5
EPOCHS = 200
# Where in training curves are taken: schedules have fallen, a last phase has begun.
FRACTIONS = (0.0, 0.02, 0.2, 0.5, 0.95)
MARGIN = 0.25


@dataclass(frozen=True)
class Curve:
    """What training computes at one moment.

    Args:
        annealed: The numbers that this moment has and others have not, by name.
        values: float32 [N].
        slope: The gradient dq/dx, float32 [N]; None: what is trained is not the number itself.
    """

    annealed: Mapping[str, float]
    values: Tensor
    slope: Tensor | None


@dataclass(frozen=True)
class Transfer:
    """A quantizer seen from outside.

    Args:
        slot: "weight", "input" or "output".
        options: What differs from the defaults.
        bits: The width of a code.
        x: The numbers that go in, ascending: float32 [N].
        values: What evaluation makes of them: float32 [N].
        levels: The codebook, ascending: float32 [K].
        boundaries: Where codes change: float64 [at most K - 1].
        training: What training makes of them, at moments that differ.
    """

    slot: str
    options: Mapping[str, Any]
    bits: int
    x: Tensor
    values: Tensor
    levels: Tensor
    boundaries: Tensor
    training: tuple[Curve, ...]


def sample_transfer(entry: QuantizerEntry, slot: str, options: Mapping[str, Any]) -> Transfer:
    """Run a quantizer over normal numbers; nothing is drawn at random.

    A weight is a tensor of one output channel whose numbers are the quantiles of a normal
    distribution. An input is observed so, cut at 0 where the codebook has no negative value. An
    option that sets where training starts, `initial_...`, is left out: the start is the data.

    Args:
        entry: The quantizer.
        slot: One of the slots that it quantizes.
        options: What differs from the defaults.

    Raises:
        PlanError: The quantizer refuses the options.
    """
    kept = {name: value for name, value in options.items() if not name.startswith("initial_")}
    normal = _quantiles()
    if slot == "weight":
        info = TensorInfo(slot, (1, len(normal), 1, 1), layer="layer", pretrained=True)
        quantizer = build_quantizer(entry, info, kept)
        x = normal
        latent = quantizer.right_inverse(x.reshape(info.shape)).detach().clone()
    else:
        quantizer = build_quantizer(entry, TensorInfo(slot, (len(normal),), 1, "layer"), kept)
        x = latent = _observed(quantizer, normal)
    return _measure(quantizer, slot, options, x, latent)


def _measure(
    quantizer: Quantizer, slot: str, options: Mapping[str, Any], x: Tensor, latent: Tensor
) -> Transfer:
    training = tuple(_training_curves(quantizer, latent, x.numel()))
    quantizer.eval()
    with torch.no_grad():
        values = quantizer(latent).flatten()
        codes = quantizer.codes(latent).flatten()
        levels = quantizer.codebook().flatten().sort().values
    changes = codes.diff() != 0
    boundaries = (x[:-1].double() + x[1:].double())[changes] / 2
    return Transfer(slot, options, quantizer.bits, x, values, levels, boundaries, training)


def _quantiles() -> Tensor:
    chances = (torch.arange(NUM_POINTS, dtype=torch.float64) + 0.5) / NUM_POINTS
    normal: Tensor = torch.special.ndtri(chances) * STANDARD_DEVIATION
    return normal.float()


def _observed(quantizer: Quantizer, normal: Tensor) -> Tensor:
    """Let an input's quantizer see data; return numbers that reach beyond its levels."""
    has_negative = bool((quantizer.codebook() < 0).any())
    data = normal * 2 if has_negative else (normal * 2).clamp(min=0)
    with torch.no_grad():
        quantizer.observe(data.unsqueeze(0))
    levels = quantizer.codebook().flatten()
    low, high = (float(levels.min()), float(levels.max())) if len(levels) else (-1.0, 1.0)
    margin = MARGIN * (high - low)
    return torch.linspace(low - margin, high + margin, len(normal))


def _training_curves(quantizer: Quantizer, latent: Tensor, count: int) -> Iterator[Curve]:
    """Yield what training computes at moments of a run, where it differs from the one before."""
    quantizer.train()
    numbers: list[dict[str, float]] = []
    curves: list[tuple[Tensor, Tensor | None]] = []
    for fraction in FRACTIONS:
        step = int(fraction * EPOCHS)
        quantizer.on_progress(Progress(step, EPOCHS, step, EPOCHS))
        numbers.append(_numbers(quantizer))
        curves.append(_curve(quantizer, latent, count))
    changing = [name for name in numbers[0] if len({each[name] for each in numbers}) > 1]
    for index, (values, slope) in enumerate(curves):
        if index == 0 or not torch.equal(values, curves[index - 1][0]):
            yield Curve({name: numbers[index][name] for name in changing}, values, slope)


def _numbers(quantizer: Quantizer) -> dict[str, float]:
    return {
        name: float(buffer)
        for name, buffer in quantizer.named_buffers()
        if buffer.dim() == 0 and buffer.is_floating_point()
    }


def _curve(quantizer: Quantizer, latent: Tensor, count: int) -> tuple[Tensor, Tensor | None]:
    trained = latent.clone().requires_grad_()
    values = quantizer(trained)
    values.sum().backward()
    gradient = trained.grad
    is_number = trained.numel() == count and gradient is not None
    slope = gradient.flatten() if is_number and gradient is not None else None
    return values.detach().flatten(), slope
