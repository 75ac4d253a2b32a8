"""The entries of the networks without shortcuts and branches, other than LeNets and AlexNets."""

from __future__ import annotations

from qcli import ArchitectureEntry
from qcli_architectures.entry_options import BLOCK_OPTIONS, FORM_OPTIONS, Options

_HWGQ = "Cai et al., HWGQ, CVPR 2017, arXiv:1702.00953"
_LQNETS = "Zhang et al., LQ-Nets, ECCV 2018, arXiv:1807.10029"
_VGG16_OPTIONS: Options = {
    "head": {
        "description": (
            "What comes behind the convolutions: cifar is the last layer alone; cifar_wide has two "
            "hidden layers of 512 before it, imagenet two of 4096; auto is cifar for images of at "
            "most 64 pixels in height, else imagenet."
        ),
        "type": "string",
        "enum": ["auto", "cifar", "cifar_wide", "imagenet"],
        "default": "auto",
    },
    "batch_norm": {
        "description": "Normalize after every convolution.",
        "type": "boolean",
        "default": True,
    },
    "conv_bias": {
        "description": "Give every convolution a bias, also where a norm follows.",
        "type": "boolean",
        "default": True,
    },
}


def _small(name: str, build: str, summary: str, source: str, last_layer: str) -> ArchitectureEntry:
    return ArchitectureEntry(
        name=name,
        summary=summary,
        source=source,
        build=f"qcli_architectures.{build}",
        options=BLOCK_OPTIONS,
        first_layer="conv1",
        last_layer=last_layer,
        default_num_classes=10,
        default_image_shape=(3, 32, 32),
    )


PLAIN_ENTRIES = [
    _small(
        "simplenet",
        "simplenet:build_simplenet",
        "SimpleNet: three convolutions without pooling, 32-64-128, and two linear layers.",
        "Yang et al., Quantization Networks, CVPR 2019, arXiv:1911.09464",
        last_layer="fc2",
    ),
    _small(
        "vgg_small",
        "vgg:build_vgg_small",
        "VGG-Small: six convolutions and one linear layer for small images.",
        f"{_HWGQ}; in the form of {_LQNETS}",
        last_layer="fc",
    ),
    _small(
        "vgg7",
        "vgg:build_vgg7",
        "VGG-7: six convolutions and two linear layers for small images, no biases.",
        "Courbariaux et al., Binarized Neural Networks, NeurIPS 2016, arXiv:1602.02830; "
        "Li et al., Ternary Weight Networks, 2016, arXiv:1605.04711",
        last_layer="fc2",
    ),
    ArchitectureEntry(
        name="vgg16",
        summary="VGG-16 as in torchvision, whose weights it can load; small images have a head "
        "of their own.",
        source="Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015, "
        "arXiv:1409.1556",
        build="qcli_architectures.vgg16:build_vgg16",
        options={**BLOCK_OPTIONS, **_VGG16_OPTIONS},
        first_layer="features.0",
        last_layer="classifier.6",
    ),
    ArchitectureEntry(
        name="vgg_variant",
        summary="VGG-Variant: VGG-16 with one 7x7 convolution in place of its first two stages.",
        source=f"{_HWGQ}; {_LQNETS}",
        build="qcli_architectures.vgg_variant:build_vgg_variant",
        options={**BLOCK_OPTIONS, **FORM_OPTIONS},
        first_layer="conv1",
        last_layer="fc7",
    ),
]
