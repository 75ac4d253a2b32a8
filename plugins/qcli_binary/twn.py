"""Ternary weight networks."""

from __future__ import annotations

import torch
from torch import Tensor

from qcli import Quantizer, TensorInfo, straight_through


class TWN(Quantizer):
    """Ternary weight networks (TWN).

    Forward:   q = E if w > delta, -E if w < -delta, else 0; delta = 0.7 * mean|w|,
               E = mean of |w| where |w| > delta, 0 where there is none; both of the layer,
               or of each output channel
    Backward:  dq/dw = 1; delta and E are constants
    Learned:   nothing
    Starts at: the weights at hand
    Source:    Li et al., Ternary Weight Networks, 2016, arXiv:1605.04711
    Differs:   delta and E of each output channel are an option that the paper does not have.
    """

    threshold: Tensor
    scale: Tensor

    def __init__(
        self, info: TensorInfo, *, threshold_factor: float = 0.7, granularity: str = "tensor"
    ) -> None:
        super().__init__(info)
        self.threshold_factor = threshold_factor
        self.per_channel = granularity == "channel"
        own_axis = info.channel_axis if self.per_channel else None
        self.axes = [axis for axis in range(len(info.shape)) if axis != own_axis]
        shape = info.channel_shape() if self.per_channel else ()
        # delta and E: kept beside the latent, so that codes are those of the latent alone, whatever
        # its weight is rounded to.
        self.register_buffer("threshold", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Measure the threshold and the scale of a weight."""
        self.measure(x)

    @torch.no_grad()
    def measure(self, latent: Tensor) -> None:
        """Take the threshold and the scale from a latent."""
        magnitude = latent.float().abs()
        mean = magnitude.mean(self.axes, keepdim=self.per_channel)
        self.threshold.copy_(self.threshold_factor * mean)
        beyond = magnitude > self.threshold
        count = beyond.sum(self.axes, keepdim=self.per_channel).clamp(min=1)
        self.scale.copy_((magnitude * beyond).sum(self.axes, keepdim=self.per_channel) / count)

    @torch.no_grad()
    def after_step(self, latent: Tensor | None) -> None:
        """Measure the threshold and the scale again."""
        if latent is not None:
            self.measure(latent)

    def forward(self, latent: Tensor) -> Tensor:
        """Quantize a weight."""
        # A scale of 0 makes -0.0, which no codebook holds; adding 0.0 makes it 0.0.
        hard = self._signs(latent) * self.scale + 0.0
        return straight_through(latent, hard.to(latent.dtype))

    def codebook(self) -> Tensor:
        """Return {-E, 0, E}: [3], or [O, 3] per channel."""
        scale = self.scale.flatten().unsqueeze(-1) if self.per_channel else self.scale
        return torch.tensor([-1.0, 0.0, 1.0], device=scale.device) * scale + 0.0

    def codes(self, latent: Tensor) -> Tensor:
        """Return 0 for -E, 1 for 0, 2 for E."""
        return (self._signs(latent) + 1).int()

    def _signs(self, latent: Tensor) -> Tensor:
        x = latent.float()
        # A difference has the sign of the comparison.
        return (x - self.threshold).gt_(0).sub_((x + self.threshold).lt_(0))
