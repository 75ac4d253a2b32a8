"""XNOR-Net's scale of inputs: the mean magnitude of what each output of a layer was made from."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_CONVOLVE = (functional.conv1d, functional.conv2d, functional.conv3d)


def scale_by_inputs(layer: nn.Module, received: Tensor, output: Tensor) -> Tensor:
    """Return the layer's output times K, which is constant in backward; the bias is not scaled.

    Args:
        layer: A convolution or a linear layer.
        received: What it received before that was quantized: [B, C, H, W], or [B, ..., C].
        output: What it returned.
    """
    windows = measure_windows(layer, received).to(output.dtype)
    bias: Any = layer.bias
    if bias is None:
        return output * windows
    if not isinstance(layer, nn.Linear):
        bias = bias.reshape(-1, *[1] * (output.dim() - 2))
    scaled: Tensor = bias + (output - bias) * windows
    return scaled


@torch.no_grad()
def measure_windows(layer: nn.Module, received: Tensor) -> Tensor:
    """Return K, the mean magnitude of the window of inputs behind each output.

    Returns:
        float32 [B, O, H, W]; of a linear layer [B, ..., 1].
    """
    magnitude = received.float().abs()
    if isinstance(layer, nn.Linear):
        return magnitude.mean(-1, keepdim=True)
    conv: Any = layer
    sizes = conv.kernel_size
    batch, _, *image = magnitude.shape
    means = magnitude.reshape(batch, conv.groups, -1, *image).mean(2)
    window = means.new_full((conv.groups, 1, *sizes), 1 / math.prod(sizes))
    where = (conv.stride, conv.padding, conv.dilation, conv.groups)
    # Autocast would average in 16 bits.
    with torch.autocast(means.device.type, enabled=False):
        windows: Tensor = _CONVOLVE[len(sizes) - 1](means, window, None, *where)
    return windows.repeat_interleave(conv.out_channels // conv.groups, 1)
