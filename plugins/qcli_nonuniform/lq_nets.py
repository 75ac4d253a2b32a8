"""Learned quantization levels: sums of a basis that follows the data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qcli import Planes, Quantizer, TensorInfo, all_reduce_sum
from qcli_nonuniform.basis import even_basis, make_patterns, solve_basis, thin_out
from qcli_nonuniform.staircase import climb, find_boundaries, tally_levels

# Half of all normal numbers are smaller in magnitude.
QUARTILE = 0.6745
FITS_AT_START = 30


class LQNets(Quantizer):
    """Learned quantization levels (LQ-Nets).

    Forward:   q = sum_j v_j b_j, the level nearest to x; b_j in {-1, 1} for weights, in {0, 1}
               for inputs and outputs; x on the boundary of two levels takes the lower one
    Backward:  weights: dq/dx = 1; inputs, outputs: 1 where x <= the highest level, else 0
    Learned:   nothing by gradient; `basis` v [bits], or [O, bits] for weights, follows the values
               x of a step: v <- m v + (1 - m) v*, v* = (B'B + r I)^-1 (B'x + r v), the rows of B
               the b_j that x had in forward
    Starts at: weights: v_j = 2^j 0.6745 sqrt(2 / n) / 2^(bits-1), n = fan-out; trained before:
               v_j = 2^j max|x| / (2^bits - 1), then 30 times v <- v*; inputs, outputs:
               v_j = 2^j 1.349 / (2^bits - 1), then 30 times v <- v* for each calibration batch
    Source:    Zhang et al., LQ-Nets, ECCV 2018, arXiv:1807.10029
    Differs:   the authors' code has no ridge r for activations, whose B'B is singular where a b_j
               is always 0, and looks at one process; here all micro-batches of all processes
               count. Inputs too small for any level above 0 start from their maximum.
    """

    basis: Tensor
    levels: Tensor
    patterns: Tensor
    gathered: Tensor

    def __init__(
        self, info: TensorInfo, *, bits: int = 2, moving_average: float = 0.9, ridge: float = 1e-4
    ) -> None:
        super().__init__(info)
        self.is_weight = info.role == "weight"
        self.moving_average = moving_average
        self.ridge = ridge
        self.register_buffer("patterns", make_patterns(bits, self.is_weight), persistent=False)
        self.row_shape = info.channel_shape() if self.is_weight else ()
        rows = (info.shape[info.channel_axis],) if self.is_weight else ()
        self.register_buffer("basis", torch.zeros(*rows, bits))
        # The sums of the basis, sorted: a basis value may turn negative or pass another.
        self.register_buffer("levels", torch.zeros(*rows, 1 << bits))
        # How many values had each level, and their sums.
        gathered = torch.zeros(2, *rows, 1 << bits, dtype=torch.float64)
        self.register_buffer("gathered", gathered, persistent=False)
        self._set_basis(self._untrained_basis())

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Start from a weight, or fit the basis to a batch."""
        if self.is_weight and not self.info.pretrained:
            self._set_basis(self._untrained_basis())
            return
        x = x.float() if self.is_weight else thin_out(x.float())
        largest = self._largest(x)
        if self.is_weight or (bool(largest > 0) and not self.codes(x).any()):
            self._set_basis(even_basis(largest, self.basis.shape[-1]))
        for _ in range(FITS_AT_START):
            self._set_basis(self._fit(tally_levels(x, self.levels, self.row_shape)))

    def forward(self, latent: Tensor) -> Tensor:
        """Quantize; in train mode the levels' counts and sums are gathered for the step's end."""
        gathers = self.training and torch.is_grad_enabled()
        value, tally = climb(
            latent, self.levels, self.row_shape, passes_all=self.is_weight, tallies=gathers
        )
        if gathers:
            self._gather(tally)
        return value

    @torch.no_grad()
    def after_step(self, latent: Tensor | None) -> None:
        """Move the basis towards the fit to what the step has met; an overflow is left out."""
        # A weight is the same in all processes, and its ridge must not depend on their number.
        gathered = self.gathered if self.is_weight else all_reduce_sum(self.gathered)
        fitted, old = self._fit(gathered), self.basis.double()
        followed = old.lerp(fitted, 1 - self.moving_average)
        self._set_basis(torch.where(fitted.isfinite(), followed, old))
        self.gathered.zero_()

    def codebook(self) -> Tensor:
        """Return the levels, ascending: [K], or [O, K] for weights."""
        return self.levels

    def planes(self) -> Planes:
        """Return a plane for each basis value; channels order their patterns by their sums."""
        return Planes(self.basis.double(), self._sorted_patterns().int())

    def codes(self, latent: Tensor) -> Tensor:
        """Return how many boundaries a value exceeds: 0 for the lowest level."""
        x = latent.float()
        codes = torch.zeros_like(x, dtype=torch.int32)
        for boundary in find_boundaries(self.levels).unbind(-1):
            codes += x > boundary.reshape(self.row_shape)
        return codes

    def _untrained_basis(self) -> Tensor:
        """Return the basis for He's weights, or for rectified normal inputs."""
        bits = self.basis.shape[-1]
        length = 2 * QUARTILE
        if self.is_weight:
            fan_out = math.prod(self.info.shape) / self.info.shape[1 - self.info.channel_axis]
            length = QUARTILE * math.sqrt(2 / fan_out) * ((1 << bits) - 1) / 2 ** (bits - 1)
        return even_basis(torch.tensor(length), bits).expand_as(self.basis)

    def _set_basis(self, basis: Tensor) -> None:
        self.basis.copy_(basis)
        self.levels.copy_(torch.sort(self._sums()).values)

    def _sums(self) -> Tensor:
        """Return the level of every pattern: float64 [K], or [O, K]."""
        return (self.basis.double().unsqueeze(-2) * self.patterns).sum(-1) + 0.0

    def _sorted_patterns(self) -> Tensor:
        """Return the pattern of every code: float64 [K, bits], or [O, K, bits]."""
        return self.patterns[torch.argsort(self._sums(), stable=True)]

    def _gather(self, tally: Tensor) -> None:
        """Add what inputs had; a weight is the same in every micro-batch, and counts once."""
        self.gathered.copy_(tally if self.is_weight else self.gathered + tally)

    def _largest(self, x: Tensor) -> Tensor:
        """Return the largest magnitude of a weight's channels, or the largest input."""
        if not self.is_weight:
            return x.max()
        return x.abs().movedim(self.info.channel_axis, 0).flatten(1).amax(1)

    def _fit(self, tally: Tensor) -> Tensor:
        """Return v*: float64 [bits], or [O, bits]."""
        rows = self._sorted_patterns()
        return solve_basis(rows, tally[0], tally[1], self.basis.double(), self.ridge)
