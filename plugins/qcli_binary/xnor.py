"""XNOR-Net and binary-weight networks."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from qcli import (
    ParameterDefaults,
    PlanError,
    Quantizer,
    TensorInfo,
    pass_inside,
    scale_gradient,
    signs,
    straight_through,
)
from qcli_binary.filter_sign import binarize
from qcli_binary.input_scale import scale_by_inputs


class XNOR(Quantizer):
    """XNOR-Net; on weights alone, a binary-weight network (BWN).

    Forward:   weights: a * sgn(w), a = mean|w| of each output channel, sgn(0) = 1;
               activations, 1 bit: sgn(x); k bits: 2 * rne(N * (c + 1) / 2) / N - 1,
               c = clip(x, -1, 1), N = 2^k - 1;
               input_scale: the layer's output times K, the mean |x| of each window (eq. 11)
    Backward:  weights, g the gradient of a * sgn(w), n the weights of a channel,
               m = 1 where -1 <= w <= 1, else 0:
               paper: g * (1/n + a * m); exact: sgn(w) / n * sum(g * sgn(w)) + g * a * m; ste: g;
               gradient_factor fan_in: n times that;
               activations: 1 where -1 <= x <= 1, else 0; K is a constant
    Learned:   nothing
    Starts at: the weights at hand; center: less their mean over the input channels of each kernel
               position, cut to [-1, 1], which is repeated after every step
    Source:    Rastegari et al., ECCV 2016, arXiv:1603.05279; center: the authors' code
    Differs:   K is off by default, as in the authors' code. A weight of one input channel, as of
               depthwise convolutions, is cut and not centered: nothing would be left of it.
    """

    parameter_defaults: Mapping[str, ParameterDefaults] = {
        "latent": ParameterDefaults(weight_decay=0.0),
        "quantizer": ParameterDefaults(weight_decay=0.0),
    }
    magnitude: Tensor
    step: Tensor

    def __init__(
        self,
        info: TensorInfo,
        *,
        bits: int = 1,
        gradient: str = "paper",
        center: bool = True,
        gradient_factor: str = "none",
        input_scale: bool = False,
    ) -> None:
        super().__init__(info)
        self.is_weight = info.role == "weight"
        self.is_float = bits == 32
        self.binary = bits == 1
        self._refuse(bits, input_scale)
        self.gradient = gradient
        self.center = center
        self.input_scale = input_scale
        self.top = (1 << bits) - 1
        shape = info.channel_shape() if self.is_weight else ()
        self.gradient_factor = 1.0
        if gradient_factor == "fan_in":
            self.gradient_factor = math.prod(info.shape) / math.prod(shape)
        # Kept beside the latent, so that the codebook is known without it.
        self.register_buffer("magnitude", torch.ones(shape))
        self.register_buffer("step", torch.tensor(1 / self.top), persistent=False)
        self.received: Tensor | None = None

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Measure the mean magnitude of each output channel."""
        if self.is_weight:
            self.measure(self.encode(x))

    @torch.no_grad()
    def encode(self, weight: Tensor) -> Tensor:
        """Return the weight, centered and cut to [-1, 1] where that is asked for."""
        if self.is_float or not self.center:
            return weight
        axis = 1 - self.info.channel_axis
        centered = weight - weight.mean(axis, keepdim=True) if weight.shape[axis] > 1 else weight
        return centered.clamp(-1, 1)

    def forward(self, latent: Tensor) -> Tensor:
        """Quantize a weight, or an activation."""
        if self.is_float:
            return latent
        if self.is_weight:
            return self._binarize(latent)
        if self.input_scale:
            self.received = latent.detach()
        return pass_inside(latent, self._value(latent.detach().float()))

    @torch.no_grad()
    def after_step(self, latent: Tensor | None) -> None:
        """Center and cut the latent; measure it again."""
        if latent is not None and not self.is_float:
            latent.copy_(self.encode(latent))
            self.measure(latent)

    @torch.no_grad()
    def measure(self, latent: Tensor) -> None:
        """Take the mean magnitude of each output channel from a latent."""
        axes = [axis for axis in range(latent.dim()) if axis != self.info.channel_axis]
        self.magnitude.copy_(latent.float().abs().mean(axes, keepdim=True))

    @property
    def scales_output(self) -> bool:
        """Whether the mean magnitude of the inputs is asked for."""
        return self.input_scale

    def scale_output(self, layer: nn.Module, output: Tensor) -> Tensor:
        """Multiply by the mean magnitude of the inputs of each output."""
        received, self.received = self.received, None
        if received is None:
            return output
        if "Transpose" in type(layer).__name__:
            where = f"layer {self.info.layer}, input: xnor"
            raise PlanError(
                [f"{where}: input_scale knows no transposed convolutions; leave it out"]
            )
        return scale_by_inputs(layer, received, output)

    def codebook(self) -> Tensor:
        """Return {-a, a} of each channel [O, 2], or the odd multiples of 1/N: [K]."""
        if self.is_float:
            return torch.empty(0)
        if self.is_weight:
            magnitude = self.magnitude.flatten()
            return torch.stack([-magnitude, magnitude], -1) + 0.0
        return (2 * torch.arange(self.top + 1, device=self.step.device) - self.top) * self.step

    def codes(self, latent: Tensor) -> Tensor:
        """Return 0..2^k - 1."""
        x = latent.float()
        return (x >= 0).int() if self.binary else self._codes(x).int()

    def _binarize(self, latent: Tensor) -> Tensor:
        if self.gradient_factor != 1:
            latent = scale_gradient(latent, self.gradient_factor)
        if self.gradient == "ste":
            # A channel of zeros has -0.0, which no codebook holds; adding 0.0 makes it 0.0.
            hard = signs(latent).mul_(self.magnitude).add_(0.0)
            return straight_through(latent, hard.to(latent.dtype))
        return binarize(latent, self.magnitude, self.gradient == "exact")

    def _value(self, x: Tensor) -> Tensor:
        if self.binary:
            return signs(x)
        return self._codes(x).mul_(2).sub_(self.top).mul_(self.step)

    def _codes(self, x: Tensor) -> Tensor:
        return x.clamp(-1, 1).add_(1).div_(2).mul_(self.top).round_()

    def _refuse(self, bits: int, input_scale: bool) -> None:
        if self.is_weight and bits not in (1, 32):
            raise ValueError('weights have 1 bit; set "bits" to 1, or to 32 for float')
        if input_scale and (self.info.role != "input" or bits != 1):
            raise ValueError('input_scale is for inputs of 1 bit; leave "input_scale" out')
        if self.binary and self.info.nonnegative:
            raise ValueError(
                "the sign of what comes from a ReLU is always 1; set architecture_options "
                '{"block_order": "norm_first"}'
            )
