"""Weights that are signed powers of two."""

from __future__ import annotations

import torch
from torch import Tensor

from qcli import Quantizer, TensorInfo, straight_through


class PowerOfTwo(Quantizer):
    """Logarithmic quantization.

    Forward:   q = sign(w) * 2^clip(rne(log2|w|), top - n + 1, top), n = 2^(bits - 1), sign(0) = 1
    Backward:  dq/dw = 1
    Learned:   nothing
    Starts at: top = rne(log2(max|w|)) of the weight at hand, and stays there
    Source:    Miyashita et al., 2016, arXiv:1603.01025, section 3
    Differs:   there is no code for 0, so that every code is used.
    """

    top: Tensor

    def __init__(self, info: TensorInfo, *, bits: int = 3) -> None:
        super().__init__(info)
        self.count = 1 << (bits - 1)
        self.register_buffer("top", torch.zeros(()))

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Take the largest exponent from the weight; all levels stay normal float32 numbers."""
        self.top.copy_(x.float().abs().max().log2().round().clamp(-100, 100))

    def forward(self, latent: Tensor) -> Tensor:
        """Decode the codes: forward and deployment cannot differ."""
        hard = self.decode(self.codes(latent)).to(latent.dtype)
        return straight_through(latent, hard)

    def codebook(self) -> Tensor:
        """Return the levels in ascending order: [K]."""
        exponents = self.top - torch.arange(self.count, device=self.top.device)
        magnitudes = torch.exp2(exponents)
        return torch.cat([-magnitudes, magnitudes.flip(0)])

    def codes(self, latent: Tensor) -> Tensor:
        """Return 0 for -2^top, count - 1 and count for the two levels next to 0."""
        below_top = self.top - latent.float().abs().log2().round()
        place = below_top.clamp(0, self.count - 1)
        return torch.where(latent < 0, place, 2 * self.count - 1 - place).int()
