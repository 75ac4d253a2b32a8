"""The two forms of HWGQ's networks: its own, and that of LQ-Nets.

They differ in what the norms learn and which layers have a bias; the convolutions have none in
both.

Source: Cai et al., Deep Learning with Low Precision by Half-wave Gaussian Quantization, CVPR 2017,
    arXiv:1702.00953, in https://github.com/zhaoweicai/hwgq; Zhang et al., LQ-Nets, ECCV 2018,
    arXiv:1807.10029, in https://github.com/microsoft/LQ-Nets
"""

from __future__ import annotations

from torch import nn

LQNETS = "lqnets"
HWGQ = "hwgq"

# Caffe's moving average keeps 0.95 of its value.
_HWGQ_MOMENTUM = 0.05


def make_form_norm(form: str, channels: int, fully_connected: bool = False) -> nn.Module:
    """Return a norm; it learns nothing in HWGQ's form, nor in LQ-Nets' fully connected layers."""
    if form == HWGQ:
        return nn.BatchNorm2d(channels, momentum=_HWGQ_MOMENTUM, affine=False)
    return nn.BatchNorm2d(channels, affine=not fully_connected)


def make_fully_connected(
    form: str, in_channels: int, out_channels: int, kernel_size: tuple[int, int] = (1, 1)
) -> nn.Conv2d:
    """Return a fully connected layer, written as a convolution over the whole map.

    Args:
        form: In LQ-Nets' it has a bias.
        in_channels: Channels of the map.
        out_channels: Features.
        kernel_size: Height and width of the map.
    """
    return nn.Conv2d(in_channels, out_channels, kernel_size, bias=form == LQNETS)
