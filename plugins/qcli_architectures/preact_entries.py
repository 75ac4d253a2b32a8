"""The entries of the residual networks whose blocks begin with a norm or a sign."""

from __future__ import annotations

from qcli import ArchitectureEntry
from qcli_architectures.entry_options import BLOCK_OPTIONS, STEM_OPTIONS, Options

_SHORTCUT: Options = {
    "shortcut": {
        "description": (
            "The path around a block that changes its input's shape: projection is a 1x1 "
            "convolution and a norm; average_pool has no parameters and puts zero channels behind."
        ),
        "type": "string",
        "enum": ["projection", "average_pool"],
        "default": "projection",
    }
}
_IDENTITY: Options = {
    "activation": {
        **BLOCK_OPTIONS["activation"],
        "description": (
            "The modules between a convolution and its norm: the identity as in the paper, prelu "
            "as in SLB. They do not feed convolutions: quantize what the layers receive."
        ),
        "default": "identity",
    }
}


def _resnet_preact(depth: int) -> ArchitectureEntry:
    return ArchitectureEntry(
        name=f"resnet{depth}_preact",
        summary=f"ResNet-{depth} of pre-activation blocks as in LQ-Nets.",
        source="He et al., Identity Mappings in Deep Residual Networks, ECCV 2016, "
        "arXiv:1603.05027; in the form of Zhang et al., LQ-Nets, ECCV 2018, arXiv:1807.10029",
        build=f"qcli_architectures.resnet_preact:build_resnet{depth}_preact",
        options={**BLOCK_OPTIONS, **STEM_OPTIONS, **_SHORTCUT},
        first_layer="conv1",
        last_layer="fc",
    )


PREACT_ENTRIES = [
    *(_resnet_preact(depth) for depth in (18, 34, 50)),
    ArchitectureEntry(
        name="bireal_resnet18",
        summary="Bi-Real ResNet-18: a shortcut around each convolution, signs as its input.",
        source="Liu et al., Bi-Real Net, ECCV 2018, arXiv:1808.00278",
        build="qcli_architectures.resnet_bireal:build_bireal_resnet18",
        options={**BLOCK_OPTIONS, **_IDENTITY, **STEM_OPTIONS},
        first_layer="conv1",
        last_layer="fc",
    ),
]
