"""The entries of the residual networks."""

from __future__ import annotations

from qcli import ArchitectureEntry
from qcli_architectures.entry_options import BLOCK_OPTIONS, STEM_OPTIONS

_SOURCE = "He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385"


def _resnet_cifar(depth: int, suffix: str = "") -> ArchitectureEntry:
    return ArchitectureEntry(
        name=f"resnet{depth}{suffix}",
        summary=f"ResNet-{depth} for small images: widths 16-32-64, shortcuts without parameters.",
        source=_SOURCE,
        build=f"qcli_architectures.resnet_cifar:build_resnet{depth}{suffix}",
        options=BLOCK_OPTIONS,
        first_layer="conv1",
        last_layer="fc",
        default_num_classes=10,
        default_image_shape=(3, 32, 32),
    )


def _resnet(depth: int) -> ArchitectureEntry:
    return ArchitectureEntry(
        name=f"resnet{depth}",
        summary=f"ResNet-{depth} as in torchvision, whose weights it can load.",
        source=_SOURCE,
        build=f"qcli_architectures.resnet:build_resnet{depth}",
        options={**BLOCK_OPTIONS, **STEM_OPTIONS},
        first_layer="conv1",
        last_layer="fc",
    )


RESIDUAL_ENTRIES = [
    *(_resnet_cifar(depth) for depth in (20, 32, 44, 56, 110, 1202)),
    # Of 6n + 2 layers; resnet50 is the one for ImageNet.
    _resnet_cifar(50, "_6n2"),
    *(_resnet(depth) for depth in (18, 34, 50)),
]
