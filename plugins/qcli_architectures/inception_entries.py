"""The entries of the networks of inception blocks."""

from __future__ import annotations

from qcli import ArchitectureEntry
from qcli_architectures.entry_options import BLOCK_OPTIONS, Options, describe_batch_norm

_SOURCE = "Szegedy et al., Going Deeper with Convolutions, CVPR 2015, arXiv:1409.4842"
_BRANCH: Options = {
    "branch": {
        "description": (
            "The convolution of the third branch: 3x3 as in torchvision, whose weights then fit; "
            "5x5 as in the paper, which also pools 3x3 instead of 2x2 before the last two blocks."
        ),
        "type": "string",
        "enum": ["3x3", "5x5"],
        "default": "3x3",
    }
}
_OPTIONS = {
    **BLOCK_OPTIONS,
    **_BRANCH,
    **describe_batch_norm("behind every convolution", default=True),
}

INCEPTION_ENTRIES = [
    ArchitectureEntry(
        name="googlenet",
        summary="GoogLeNet without auxiliary heads as in torchvision, whose weights it can load.",
        source=_SOURCE,
        build="qcli_architectures.googlenet:build_googlenet",
        options=_OPTIONS,
        first_layer="conv1.conv",
        last_layer="fc",
    ),
    ArchitectureEntry(
        name="inception_v1",
        summary="GoogLeNet with the initialization of N2D2, uniform over the fan-out.",
        source=_SOURCE,
        build="qcli_architectures.googlenet:build_inception_v1",
        options=_OPTIONS,
        first_layer="conv1.conv",
        last_layer="fc",
    ),
    ArchitectureEntry(
        name="googlenet_variant",
        summary="The variant of GoogLeNet of HWGQ and LQ-Nets, without branches that pool.",
        source="Cai et al., HWGQ, CVPR 2017, arXiv:1702.00953; in the form of "
        "Zhang et al., LQ-Nets, ECCV 2018, arXiv:1807.10029",
        build="qcli_architectures.googlenet_variant:build_googlenet_variant",
        options=BLOCK_OPTIONS,
        first_layer="conv1",
        last_layer="fc",
    ),
]
