"""The entries of the MobileNets."""

from __future__ import annotations

from qcli import ArchitectureEntry
from qcli_architectures.entry_options import BLOCK_OPTIONS, Options


def _describe_width(rounding: str) -> Options:
    return {
        "width": {
            "description": f"Factor on the channels of every layer, which are {rounding}.",
            "type": "number",
            "exclusiveMinimum": 0,
            "default": 1.0,
        }
    }


_RELU6: Options = {"activation": {**BLOCK_OPTIONS["activation"], "default": "relu6"}}
_EXPANSION: Options = {
    "keep_expansion": {
        "description": "Keep the 1x1 convolution of the first block, as GluonCV and N2D2 do.",
        "type": "boolean",
        "default": False,
    }
}

MOBILE_ENTRIES = [
    ArchitectureEntry(
        name="mobilenet_v1",
        summary="MobileNet-V1: pairs of depthwise and pointwise convolutions.",
        source="Howard et al., MobileNets, 2017, arXiv:1704.04861",
        build="qcli_architectures.mobilenet_v1:build_mobilenet_v1",
        options={**BLOCK_OPTIONS, **_describe_width("rounded down")},
        first_layer="conv1",
        last_layer="fc",
    ),
    ArchitectureEntry(
        name="mobilenet_v2",
        summary="MobileNet-V2 as in torchvision, whose weights it can load.",
        source="Sandler et al., MobileNetV2, CVPR 2018, arXiv:1801.04381",
        build="qcli_architectures.mobilenet_v2:build_mobilenet_v2",
        options={
            **BLOCK_OPTIONS,
            **_RELU6,
            **_describe_width("multiples of 8"),
            **_EXPANSION,
        },
        first_layer="features.0.0",
        last_layer="classifier.1",
    ),
]
