"""A network quantized by Brevitas: learned scales, one for each weight and each input.

Source: Brevitas 0.13, `brevitas.nn.QuantConv2d` with the quantizers of `brevitas.quant`
"""

from __future__ import annotations

import warnings

from torch import nn

from qcli.benchmark.peers.convolution import replace_convolutions
from qcli.errors import MissingTool

# Scales are statistics for so many steps, 300 by default, and parameters from then on. Collecting
# is slower; the long run that follows is what is measured.
COLLECTING_STEPS = 1


def quantize_by_brevitas(model: nn.Module, bits: int) -> None:
    """Quantize weights and inputs of every convolution behind the first, in place.

    Raises:
        MissingTool: Brevitas is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from brevitas.inject.enum import ScalingImplType
            from brevitas.nn import QuantConv2d
            from brevitas.quant import Int8WeightPerTensorFloat, Uint8ActPerTensorFloat
    except ImportError as error:
        raise MissingTool("brevitas is not installed: pip install 'qcli[bench]'") from error

    def make(layer: nn.Conv2d) -> nn.Module:
        found: nn.Module = QuantConv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            bias=False,
            weight_quant=Int8WeightPerTensorFloat,
            weight_bit_width=bits,
            weight_scaling_impl_type=ScalingImplType.PARAMETER_FROM_STATS,
            input_quant=Uint8ActPerTensorFloat,
            input_bit_width=bits,
            input_collect_stats_steps=COLLECTING_STEPS,
        )
        found.load_state_dict(layer.state_dict(), strict=False)
        return found.to(layer.weight.device)

    replace_convolutions(model, make)
