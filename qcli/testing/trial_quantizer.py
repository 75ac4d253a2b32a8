"""The quantizer of the trial networks: whole multiples of a step that calibration sets."""

from __future__ import annotations

import torch
from torch import Tensor

from qcli.catalog.catalog import Catalog, Offer
from qcli.catalog.entries import QuantizerEntry
from qcli.quantization.quantizer import Quantizer, TensorInfo


class Steps(Quantizer):
    """Multiples of a step: signed for weights and images, from 0 for what a ReLU made.

    Args:
        info: The tensor.
        bits: The width of a code.
    """

    step: Tensor

    def __init__(self, info: TensorInfo, *, bits: int = 4) -> None:
        super().__init__(info)
        top = 1 << bits - (0 if info.nonnegative else 1)
        self.lo, self.hi = 0 if info.nonnegative else 1 - top, top - 1
        self.register_buffer("step", torch.ones(()))

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Let the largest magnitude be the last level."""
        self.step.copy_(x.float().abs().max() / self.hi)

    def forward(self, latent: Tensor) -> Tensor:
        """Return what codes stand for; nothing here is trained."""
        return self.decode(self.codes(latent)).to(latent.dtype)

    def codebook(self) -> Tensor:
        """Return the levels in ascending order: [K]."""
        return torch.arange(self.lo, self.hi + 1) * self.step

    def codes(self, latent: Tensor) -> Tensor:
        """Return 0 for the lowest level."""
        return ((latent.float() / self.step).round().clamp(self.lo, self.hi) - self.lo).int()


ENTRY = QuantizerEntry(
    name="steps",
    summary="Multiples of a step.",
    source="qcli.testing",
    build=Steps,
    options={"bits": {"description": "The width of a code.", "type": "integer", "default": 4}},
)
CATALOG = Catalog((Offer(ENTRY, "qcli", ""),), ())
