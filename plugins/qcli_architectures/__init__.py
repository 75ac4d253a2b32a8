"""The bundled float networks that `-a` can name: entries only, which import no torch."""

from __future__ import annotations

from typing import Any

from qcli import ArchitectureEntry, hookimpl

Options = dict[str, dict[str, Any]]

_BLOCK: Options = {
    "activation": {
        "description": "The activation modules. The identity leaves the activation to a quantizer.",
        "type": "string",
        "enum": ["relu", "relu6", "hardtanh", "prelu", "identity"],
        "default": "relu",
    },
    "block_order": {
        "description": (
            "norm_last: convolution, norm, activation; norm_first: norm, convolution, activation, "
            "pooling, so that binarized inputs come from a norm and never from a ReLU. The first "
            "layer, and what feeds the last one, are alike in both."
        ),
        "type": "string",
        "enum": ["norm_last", "norm_first"],
        "default": "norm_last",
    },
}
_STEM: Options = {
    "stem": {
        "description": (
            "What comes before the blocks: imagenet is a 7x7 convolution and a pooling, which "
            "quarter height and width; cifar is a 3x3 convolution, which keeps them; auto is "
            "cifar for images of at most 64 pixels in height, else imagenet."
        ),
        "type": "string",
        "enum": ["auto", "imagenet", "cifar"],
        "default": "auto",
    }
}
_RESNET_SOURCE = (
    "He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385"
)


def _batch_norm(placed: str, default: bool) -> Options:
    return {
        "batch_norm": {
            "description": f"Normalize {placed}; the convolutions then have no bias.",
            "type": "boolean",
            "default": default,
        }
    }


def _lenet(
    name: str, summary: str, source: str, options: Options, last_layer: str
) -> ArchitectureEntry:
    return ArchitectureEntry(
        name=name,
        summary=summary,
        source=source,
        build=f"qcli_architectures.lenet:build_{name}",
        options=options,
        first_layer="conv1",
        last_layer=last_layer,
        default_num_classes=10,
        default_image_shape=(1, 28, 28),
    )


def _resnet_cifar(depth: int) -> ArchitectureEntry:
    return ArchitectureEntry(
        name=f"resnet{depth}",
        summary=f"ResNet-{depth} for small images: widths 16-32-64, shortcuts without parameters.",
        source=_RESNET_SOURCE,
        build=f"qcli_architectures.resnet_cifar:build_resnet{depth}",
        options=_BLOCK,
        first_layer="conv1",
        last_layer="fc",
        default_num_classes=10,
        default_image_shape=(3, 32, 32),
    )


def _resnet(depth: int) -> ArchitectureEntry:
    return ArchitectureEntry(
        name=f"resnet{depth}",
        summary=f"ResNet-{depth} as in torchvision, whose weights it can load.",
        source=_RESNET_SOURCE,
        build=f"qcli_architectures.resnet:build_resnet{depth}",
        options={**_BLOCK, **_STEM},
        first_layer="conv1",
        last_layer="fc",
    )


@hookimpl
def qcli_register_architectures() -> list[ArchitectureEntry]:
    """Offer the LeNets, the ResNets, VGG-Small, and all classifiers of torchvision."""
    return [
        _lenet(
            "lenet5",
            "LeNet-5 in its wide form, 32-64-512.",
            "Li et al., Ternary Weight Networks, 2016, arXiv:1605.04711",
            {**_BLOCK, **_batch_norm("after every hidden layer", default=True)},
            last_layer="fc2",
        ),
        _lenet(
            "lenet5_caffe",
            "LeNet-5 as in Caffe, 20-50-500.",
            "Jia et al., Caffe, 2014, arXiv:1408.5093",
            {**_BLOCK, **_batch_norm("after both convolutions", default=False)},
            last_layer="fc2",
        ),
        _lenet(
            "lenet5_classic",
            "LeNet-5 in its first widths, 6-16-120-84.",
            "LeCun et al., Gradient-Based Learning Applied to Document Recognition, "
            "Proceedings of the IEEE, 1998",
            _BLOCK,
            last_layer="fc3",
        ),
        *(_resnet_cifar(depth) for depth in (20, 32, 44, 56, 110, 1202)),
        *(_resnet(depth) for depth in (18, 34, 50)),
        ArchitectureEntry(
            name="vgg_small",
            summary="VGG-Small: six convolutions and one linear layer for small images.",
            source="Cai et al., HWGQ, CVPR 2017, arXiv:1702.00953; in the form of "
            "Zhang et al., LQ-Nets, ECCV 2018, arXiv:1807.10029",
            build="qcli_architectures.vgg:build_vgg_small",
            options=_BLOCK,
            first_layer="conv1",
            last_layer="fc",
            default_num_classes=10,
            default_image_shape=(3, 32, 32),
        ),
        ArchitectureEntry(
            name="torchvision:",
            summary="Every classifier of torchvision by its name there: torchvision:mobilenet_v2.",
            source="https://pytorch.org/vision/stable/models.html#classification",
            build="qcli_architectures.torchvision_family:build_member",
        ),
    ]
