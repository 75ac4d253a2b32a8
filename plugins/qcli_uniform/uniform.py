"""The uniform baseline: the observed minimum and maximum set the step."""

from __future__ import annotations

import torch
from torch import Tensor

from qcli import Grid, Progress, Quantizer, TensorInfo, all_reduce_max
from qcli_uniform.affine_rounding import affine_codes, quantize_affine
from qcli_uniform.percentile import mirrored_percentiles


class Uniform(Quantizer):
    """Uniform quantization between observed limits.

    Forward:   q = (clip(rne(x / s) + z, lo, hi) - z) * s; symmetric: z = 0 and, signed,
               lo = -hi = 1 - 2^(b-1), s = max|x| / hi; asymmetric: lo = 0, hi = 2^b - 1,
               s = (max - min) / hi, z = rne(-min / s), the range widened to take in 0
    Backward:  dq/dx = 1 inside the range, else 0; the step is a constant
    Learned:   nothing
    Starts at: the weight at hand; for inputs and outputs, the calibration batches
    Source:    Jacob et al., CVPR 2018, arXiv:1712.05877
    Differs:   a weight's limits follow it after every step; those of inputs follow the batches
               seen by all processes, averaged with `momentum` once per step (`ema`) until
               `freeze_at_fraction`, or stay as calibrated: the outermost values (`minmax`), or
               the mean of each batch's percentiles (`percentile`), taken from evenly spaced
               numbers where a batch has more than 2^24.
    """

    low: Tensor
    high: Tensor
    batch_low: Tensor
    batch_high: Tensor
    observed: Tensor
    batches: Tensor
    frozen: Tensor

    def __init__(
        self,
        info: TensorInfo,
        *,
        bits: int = 8,
        signed: bool = True,
        symmetric: bool | None = None,
        granularity: str = "tensor",
        observer: str = "ema",
        momentum: float = 0.9,
        percentile: float = 99.9,
        freeze_at_fraction: float = 1.0,
    ) -> None:
        super().__init__(info)
        if granularity == "channel" and info.role != "weight":
            raise ValueError('granularity "channel" is for weights')
        is_weight = info.role == "weight"
        if is_weight and not signed:
            raise ValueError('weights are signed; leave "signed" true')
        if is_weight and symmetric is False:
            raise ValueError("weights are symmetric; asymmetric ranges are for inputs and outputs")
        self.symmetric = is_weight if symmetric is None else symmetric
        self.signed = signed
        narrow = self.symmetric and signed
        self.hi = (1 << bits - 1) - 1 if narrow else (1 << bits) - 1
        self.lo = -self.hi if narrow else 0
        self.follows = observer == "ema" and not is_weight
        self.momentum = momentum
        self.takes_percentile = observer == "percentile" and not is_weight
        self.percentile = percentile
        self.freeze_at_fraction = freeze_at_fraction
        self.per_channel = granularity == "channel"
        shape = info.channel_shape() if self.per_channel else ()
        for name, start in {"low": 0.0 if not signed else -1.0, "high": 1.0}.items():
            self.register_buffer(name, torch.full(shape, start))
            self.register_buffer(f"batch_{name}", torch.zeros(shape))
        self.register_buffer("observed", torch.zeros((), dtype=torch.bool))
        self.register_buffer("batches", torch.zeros(()), persistent=False)
        self.register_buffer("frozen", torch.zeros((), dtype=torch.bool), persistent=False)

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Set the limits from a weight, or widen them by a batch."""
        if self.info.role == "weight":
            self.measure(x)
            return
        if self.takes_percentile:
            self._observe_percentiles(x.float())
            return
        low, high = self._limits(x.float())
        if bool(self.observed):
            low, high = torch.minimum(low, self.low), torch.maximum(high, self.high)
        self.low.copy_(low)
        self.high.copy_(high)
        self.observed.fill_(True)

    def _observe_percentiles(self, x: Tensor) -> None:
        """Average the percentiles of the batches."""
        self.batches.add_(1)
        low, high = mirrored_percentiles(x, self.percentile)
        for limit, seen in ((self.low, low.clamp(max=0)), (self.high, high.clamp(min=0))):
            limit.copy_(torch.where(self.batches > 1, limit, seen).lerp(seen, 1 / self.batches))
        self.observed.fill_(True)

    def on_progress(self, progress: Progress) -> None:
        """Say whether the limits of inputs and outputs stay."""
        self.frozen.fill_(progress.fraction >= self.freeze_at_fraction)

    def forward(self, latent: Tensor) -> Tensor:
        """Quantize; in train mode the batch's limits are gathered for the step's end."""
        # Calibration, which has no gradients, observes by itself.
        if self.training and self.follows and torch.is_grad_enabled():
            self._gather(latent.detach())
        step, zero = self._step()
        return quantize_affine(latent, step, zero, self.lo, self.hi)

    @torch.no_grad()
    def after_step(self, latent: Tensor | None) -> None:
        """Follow the weight, or average the gathered limits over all processes."""
        if latent is not None:
            self.measure(latent)
        elif self.follows:
            self._commit()

    @torch.no_grad()
    def measure(self, latent: Tensor) -> None:
        """Take the limits from a weight's latent."""
        low, high = self._limits(latent.float())
        self.low.copy_(low)
        self.high.copy_(high)

    def _commit(self) -> None:
        """Average the gathered limits; those of a step that overflowed are dropped."""
        low, high = all_reduce_max(torch.stack([-self.batch_low, self.batch_high]))
        for limit, seen in ((self.low, -low), (self.high, high)):
            followed = limit.lerp(seen, 1 - self.momentum)
            limit.copy_(torch.where(seen.isfinite() & ~self.frozen, followed, limit))
        self.batch_low.zero_()
        self.batch_high.zero_()

    def codebook(self) -> Tensor:
        """Return the levels: [K], or [O, K] per channel."""
        step, zero = self._step()
        levels = torch.arange(self.lo, self.hi + 1, device=step.device).float()
        if self.per_channel:
            step = step.flatten().unsqueeze(-1)
        return (levels - zero) * step

    def codes(self, latent: Tensor) -> Tensor:
        """Return 0 for the lowest level."""
        step, zero = self._step()
        return (affine_codes(latent.float(), step, zero, self.lo, self.hi) - self.lo).int()

    def grid(self) -> Grid:
        """Return the levels as integers: the codes that hardware holds."""
        step, zero = self._step()
        integers = torch.arange(self.lo, self.hi + 1, device=step.device, dtype=torch.int32)
        return Grid(step.flatten() if self.per_channel else step, integers, zero.int())

    def _step(self) -> tuple[Tensor, Tensor]:
        """Return the step and the zero point, both float32."""
        if self.symmetric:
            largest = torch.maximum(-self.low, self.high) if self.signed else self.high
            return _positive(largest / self.hi), torch.zeros((), device=self.low.device)
        step = _positive((self.high - self.low) / self.hi)
        return step, torch.round(-self.low / step).clamp(self.lo, self.hi)

    def _gather(self, x: Tensor) -> None:
        low, high = self._limits(x.float())
        self.batch_low.copy_(torch.minimum(self.batch_low, low))
        self.batch_high.copy_(torch.maximum(self.batch_high, high))

    def _limits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the least and the greatest value, widened to take in 0."""
        if self.per_channel:
            axes = [axis for axis in range(x.dim()) if axis != self.info.channel_axis]
            low, high = x.amin(axes, keepdim=True), x.amax(axes, keepdim=True)
        else:
            low, high = torch.aminmax(x)
        return low.clamp(max=0), high.clamp(min=0)


def _positive(step: Tensor) -> Tensor:
    """Give a range without extent the step 1: it holds nothing but 0."""
    return torch.where(step > 0, step, 1.0)
