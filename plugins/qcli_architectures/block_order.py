"""The orders in which a block's modules can stand, and the norms of the one that begins with them.

`norm_last`, the default: convolution, norm and activation, with the pooling where the network has
it. `norm_first`: norm, convolution, activation, pooling. There every quantizable layer but the
first and the last receives what a norm has centered: binarized, what comes from a ReLU would be one
and the same value everywhere.

Source: Rastegari et al., XNOR-Net, ECCV 2016, arXiv:1603.05279
"""

from __future__ import annotations

from torch import nn

NORM_LAST = "norm_last"
NORM_FIRST = "norm_first"

# The authors' code; norms of the other order have PyTorch's 1e-5.
_EPSILON = 1e-4


def make_leading_norm(channels: int, after_linear: bool = False) -> nn.Module:
    """Return the norm that stands before a layer; it sees the channels that the layer takes.

    Args:
        channels: Their number.
        after_linear: They come from a linear layer, without height and width.
    """
    norm = nn.BatchNorm1d if after_linear else nn.BatchNorm2d
    return norm(channels, eps=_EPSILON)


def require_norms(block_order: str, batch_norm: bool, advice: str) -> None:
    """Refuse to put norms first in a network that has none.

    Raises:
        ValueError: Says why, and the advice.
    """
    if block_order == NORM_FIRST and not batch_norm:
        raise ValueError(
            f'"block_order": "{NORM_FIRST}" puts a norm before each inner layer, '
            f"but the network has no norms; {advice}"
        )
