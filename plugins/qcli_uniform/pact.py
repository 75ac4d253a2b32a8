"""Parameterized clipping activation, and its calibrated form."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from qcli import ParameterDefaults, TensorInfo
from qcli_uniform.dorefa import DoReFa
from qcli_uniform.learned_clip import (
    clipped_codebook,
    clipped_codes,
    keep_positive,
    quantize_clipped,
)


class PACT(DoReFa):
    """Parameterized clipping activation (PACT).

    Forward:   activations: rne(clip(x, 0, c) / (c/N)) * c/N, N = 2^b - 1;
               32 bits: clip(x, 0, c) with `keep_nonlinearity`, else left as it is;
               weights: as DoReFa
    Backward:  dq/dx = 1 where 0 < x < c, else 0;
               dq/dc = 1 where x >= c, else 0; calibrated: rne(N * x/c) / N - x/c where 0 < x < c;
               weights: as DoReFa
    Learned:   `clip` c of activations, one per tensor, which decays as weights do
    Starts at: c = `initial_clip`, larger than typical activations: decay shrinks it
    Source:    Choi et al., 2018, arXiv:1805.06085
    Differs:   a clip that an update carries across 0 is put back to the smallest step above it.
    """

    rectifies = True
    parameter_defaults: Mapping[str, ParameterDefaults] = {
        "latent": ParameterDefaults(),
        "quantizer": ParameterDefaults(weight_decay=None),
    }

    def __init__(
        self,
        info: TensorInfo,
        *,
        bits: int = 4,
        initial_clip: float = 10.0,
        gradient: str = "plain",
        keep_nonlinearity: bool = False,
    ) -> None:
        super().__init__(info, bits=bits)
        self.calibrated = gradient == "calibrated"
        self.largest_code = None if self.is_float else (1 << bits) - 1
        self.clips = info.role != "weight" and (keep_nonlinearity or not self.is_float)
        if self.clips:
            self.clip = nn.Parameter(torch.tensor(float(initial_clip)))

    def forward(self, latent: Tensor) -> Tensor:
        """Quantize a weight, or an activation."""
        if not self.clips:
            return super().forward(latent)
        return quantize_clipped(latent, self.clip, self.largest_code, self.calibrated)

    def after_step(self, latent: Tensor | None) -> None:
        """Keep the clip positive: an update may have carried it across 0."""
        super().after_step(latent)
        if self.clips:
            keep_positive(self.clip)

    def health(self, latent: Tensor | None) -> dict[str, float]:
        """Return the clip, which collapses where its learning rate or decay is too large."""
        return {"clip": float(self.clip.detach())} if self.clips else {}

    def codebook(self) -> Tensor:
        """Return the multiples of c/N; of a weight, DoReFa's values: [K]; with 32 bits nothing."""
        if self.largest_code and self.clips:
            return clipped_codebook(self.clip, self.largest_code)
        return super().codebook()

    def codes(self, latent: Tensor) -> Tensor:
        """Return 0..2^b - 1."""
        if self.largest_code and self.clips:
            return clipped_codes(latent.float(), self.clip, self.largest_code).int()
        return super().codes(latent)


class CGPACT(PACT):
    """PACT whose clip learns from the error of rounding too (CG-PACT).

    Forward:   as PACT
    Backward:  as PACT, with dq/dc = rne(N * x/c) / N - x/c where 0 < x < c
    Learned:   `clip` c of activations, one per tensor, which decays as weights do
    Starts at: c = `initial_clip`
    Source:    Jin et al., 2019, arXiv:1912.10207
    Differs:   a clip stays positive, where the paper takes its magnitude.
    """

    def __init__(
        self,
        info: TensorInfo,
        *,
        bits: int = 4,
        initial_clip: float = 10.0,
        gradient: str = "calibrated",
        keep_nonlinearity: bool = False,
    ) -> None:
        super().__init__(
            info,
            bits=bits,
            initial_clip=initial_clip,
            gradient=gradient,
            keep_nonlinearity=keep_nonlinearity,
        )
