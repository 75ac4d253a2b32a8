"""The integers that SAT rounds bounded weights to, by mode."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TanhLevels:
    """Equidistant levels for u in [-1, 1]: integers n over a divisor.

    Args:
        gain: Codes for each unit of u, or of u/2 + 1/2.
        offset: What is added to that before it is rounded.
        lo: The lowest rounded number; its code is 0.
        hi: The highest.
        divisor: N or R: what n stands over.
        odd: Whether u/2 + 1/2 is rounded, so that n is odd, without 0.
        shifts: Whether the clamp stage has the gain and the offset too.
    """

    gain: float
    offset: float
    lo: int
    hi: int
    divisor: int
    odd: bool
    shifts: bool = False

    @property
    def slope(self) -> float:
        """The value gained for each unit of u."""
        return self.gain / self.divisor

    def codes(self, ratio: Tensor) -> Tensor:
        """Return 0..K-1 of u, as floats."""
        position = (ratio / 2 + 0.5 if self.odd else ratio) * self.gain + self.offset
        return torch.round(position).clamp(self.lo, self.hi) - self.lo

    def integers(self, codes: Tensor) -> Tensor:
        """Return n of codes."""
        return 2 * codes - self.divisor if self.odd else codes + self.lo

    def all_integers(self, device: torch.device) -> Tensor:
        """Return every n in the order of the codes: float32 [K]."""
        return self.integers(torch.arange(self.hi - self.lo + 1, device=device).float())

    def clamped(self, ratio: Tensor) -> Tensor:
        """Return what stands in for the levels before anything is rounded."""
        return (ratio * self.gain + self.offset) / self.divisor if self.shifts else ratio


def tanh_levels(mode: str, bits: int) -> TanhLevels:
    """Return the levels of a mode of SAT.

    Raises:
        ValueError: The mode has no levels of this width.
    """
    top = (1 << bits) - 1
    half = top // 2
    if mode in ("symmetric", "asymmetric") and not half:
        raise ValueError(f'mode "{mode}" needs 2 bits; set bits to 2 or mode to "default"')
    match mode:
        case "symmetric":
            return TanhLevels(half, 0, -half, half, half, odd=False)
        case "asymmetric":
            return TanhLevels(half + 0.5, -0.5, -half - 1, half, half, odd=False, shifts=True)
        case "full_range":
            return TanhLevels(top + 0.9998, -0.4999, 0, top, top, odd=True)
        case _:
            return TanhLevels(top, 0, 0, top, top, odd=True)
