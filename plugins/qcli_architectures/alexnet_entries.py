"""The entries of the AlexNets."""

from __future__ import annotations

from qcli import ArchitectureEntry
from qcli_architectures.entry_options import (
    BLOCK_OPTIONS,
    FORM_OPTIONS,
    Options,
    describe_batch_norm,
    describe_dropout,
)

_KRIZHEVSKY = (
    "Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, "
    "NeurIPS 2012"
)
_XNOR_OPTIONS: Options = {
    "activation": BLOCK_OPTIONS["activation"],
    "block_order": {
        "description": "Norms always stand before the inner layers; recipes may require it.",
        "type": "string",
        "enum": ["norm_first"],
        "default": "norm_first",
    },
    "form": {
        "description": (
            "torch7: the authors', for images of 224x224, whose inner layers have no activations "
            "of their own; pytorch: the PyTorch port, for 227x227, with an activation behind "
            "every layer, and dropout."
        ),
        "type": "string",
        "enum": ["torch7", "pytorch"],
        "default": "torch7",
    },
}


def _alexnet(
    name: str,
    summary: str,
    source: str,
    options: Options,
    *,
    ends: tuple[str, str] = ("conv1", "fc8"),
    side: int = 224,
) -> ArchitectureEntry:
    first_layer, last_layer = ends
    return ArchitectureEntry(
        name=name,
        summary=summary,
        source=source,
        build=f"qcli_architectures.{name}:build_{name}",
        options=options,
        first_layer=first_layer,
        last_layer=last_layer,
        default_image_shape=(3, side, side),
    )


ALEXNET_ENTRIES = [
    _alexnet(
        "alexnet",
        "AlexNet with norms and without groups, as LQ-Nets and HWGQ quantize it.",
        f"{_KRIZHEVSKY}; in the form of Zhang et al., LQ-Nets, ECCV 2018, arXiv:1807.10029",
        {**BLOCK_OPTIONS, **FORM_OPTIONS},
        side=227,
    ),
    _alexnet(
        "alexnet_dorefa",
        "AlexNet with norms and groups, as DoReFa-Net quantizes it.",
        "Zhou et al., DoReFa-Net, 2016, arXiv:1606.06160",
        BLOCK_OPTIONS,
    ),
    _alexnet(
        "alexnet_xnor",
        "AlexNet with norms before the inner layers, as XNOR-Net binarizes it.",
        "Rastegari et al., XNOR-Net, ECCV 2016, arXiv:1603.05279",
        _XNOR_OPTIONS,
    ),
    _alexnet(
        "alexnet_torchvision",
        "AlexNet in torchvision's widths; without norms it can load torchvision's weights.",
        "Krizhevsky, One Weird Trick for Parallelizing Convolutional Neural Networks, 2014, "
        "arXiv:1404.5997",
        {
            **BLOCK_OPTIONS,
            **describe_batch_norm("after every hidden layer", default=True),
            **describe_dropout("before both hidden linear layers"),
        },
        ends=("features.0", "classifier.6"),
    ),
]
