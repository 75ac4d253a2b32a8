"""Trained ternary quantization."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qcli import Planes, Quantizer, TensorInfo

_SMALLEST_SCALE = 1e-6


class TTQ(Quantizer):
    """Trained ternary quantization (TTQ).

    Forward:   q = Wp if w > delta, -Wn if w < -delta, else 0; delta = t * max|w|,
               or the fixed share of weights that becomes 0 sets delta
    Backward:  dL/dw = g * Wp if w > delta, g * Wn if w < -delta, else g; g = dL/dq;
               dL/dWp = sum of g where w > delta, dL/dWn = -(sum of g where w < -delta);
               delta is a constant
    Learned:   `positive_scale` Wp and `negative_scale` Wn, of the layer
    Starts at: Wp = Wn = 1, or mean|w| on each side
    Source:    Zhu et al., Trained Ternary Quantization, ICLR 2017, arXiv:1612.01064
    Differs:   the paper prints dL/dWn without the minus, which follows from -Wn. As in the
               authors' code, w is not divided by max|w| first: the codes are the same; but
               |w| = delta gives 0 here, sgn(w) there. Wp and Wn stay above 1e-6.
    """

    threshold: Tensor

    def __init__(
        self,
        info: TensorInfo,
        *,
        threshold: str = "max",
        threshold_factor: float = 0.05,
        sparsity: float = 0.5,
        initial_scales: str = "one",
    ) -> None:
        super().__init__(info)
        self.by_sparsity = threshold == "sparsity"
        self.threshold_factor = threshold_factor
        self.sparsity = sparsity
        self.from_mean = initial_scales == "mean"
        self.positive_scale = nn.Parameter(torch.ones(()))
        self.negative_scale = nn.Parameter(torch.ones(()))
        # delta: kept beside the latent, so that codes are those of the latent alone.
        self.register_buffer("threshold", torch.zeros(()))

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Measure the threshold of a weight, and start the scales from its means if asked to."""
        self.measure(x)
        if self.from_mean:
            weight = x.float()
            above, below = _sides(weight, self.threshold)
            self.positive_scale.copy_(_mean_magnitude(weight, above))
            self.negative_scale.copy_(_mean_magnitude(weight, below))
            self._keep_positive()

    @torch.no_grad()
    def after_step(self, latent: Tensor | None) -> None:
        """Measure the threshold again; keep the scales positive."""
        self._keep_positive()
        if latent is not None:
            self.measure(latent)

    @torch.no_grad()
    def measure(self, latent: Tensor) -> None:
        """Take the threshold from a latent."""
        self.threshold.copy_(self._find_threshold(latent.float().abs()))

    def forward(self, latent: Tensor) -> Tensor:
        """Quantize a weight; the gradients of the scales are summed in float32."""
        quantized: Tensor = _QuantizeTTQ.apply(
            latent, self.threshold, self.positive_scale, self.negative_scale
        )
        return quantized

    def health(self, latent: Tensor | None) -> dict[str, float]:
        """Return the smaller scale, which collapses where its learning rate is too large."""
        return {"scale": float(torch.minimum(self.positive_scale, self.negative_scale).detach())}

    def codebook(self) -> Tensor:
        """Return {-Wn, 0, Wp}: [3]."""
        positive, negative = self.positive_scale.detach(), self.negative_scale.detach()
        return torch.stack([-negative, torch.zeros_like(positive), positive])

    def planes(self) -> Planes:
        """Return a mask for either sign, also while both scales are equal, as at the start."""
        negative, _, positive = self.codebook().double()
        masks = torch.tensor([[1, 0], [0, 0], [0, 1]], dtype=torch.int32)
        return Planes(torch.stack([negative, positive]), masks.to(negative.device))

    def codes(self, latent: Tensor) -> Tensor:
        """Return 0 for -Wn, 1 for 0, 2 for Wp."""
        above, below = _sides(latent.float(), self.threshold)
        return above.int() - below.int() + 1

    def _find_threshold(self, magnitude: Tensor) -> Tensor:
        if not self.by_sparsity:
            return self.threshold_factor * magnitude.max()
        # One weight at least, or those that tie with it, decides: not all become 0 by rounding.
        num_zeros = min(round(self.sparsity * magnitude.numel()), magnitude.numel() - 1)
        if num_zeros == 0:
            return torch.zeros_like(self.threshold)
        return magnitude.flatten().kthvalue(num_zeros).values

    def _keep_positive(self) -> None:
        self.positive_scale.clamp_(min=_SMALLEST_SCALE)
        self.negative_scale.clamp_(min=_SMALLEST_SCALE)


def _sides(weight: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """Return where a weight lies above the threshold, and where below its negative."""
    return weight > threshold, weight < -threshold


def _masks(weight: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """Return 1 where the weight lies above the threshold, and where below its negative; else 0."""
    # A difference has the sign of the comparison, and no mask of booleans is converted.
    return (weight - threshold).gt_(0), (weight + threshold).lt_(0)


def _mean_magnitude(weight: Tensor, side: Tensor) -> Tensor:
    return (weight.abs() * side).sum() / side.sum().clamp(min=1)


class _QuantizeTTQ(torch.autograd.Function):
    """Saves its input and recomputes the masks."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, threshold: Tensor, positive: Tensor, negative: Tensor
    ) -> Tensor:
        ctx.save_for_backward(weight, threshold, positive, negative)
        above, below = _masks(weight.to(positive.dtype), threshold)
        return above.mul_(positive).sub_(below.mul_(negative)).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        weight, threshold, positive, negative = ctx.saved_tensors
        above, below = _masks(weight.to(positive.dtype), threshold)
        wide = gradient.to(positive.dtype)
        by_positive, by_negative = (above * wide).sum(), -(below * wide).sum()
        between = 1 - above - below
        slope = between.add_(above.mul_(positive)).add_(below.mul_(negative))
        return slope.mul_(wide).to(gradient.dtype), None, by_positive, by_negative
