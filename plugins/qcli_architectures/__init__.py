"""The bundled float networks that `-a` can name: entries only, which import no torch."""

from __future__ import annotations

from qcli import ArchitectureEntry, hookimpl
from qcli_architectures.alexnet_entries import ALEXNET_ENTRIES
from qcli_architectures.inception_entries import INCEPTION_ENTRIES
from qcli_architectures.lenet_entries import LENET_ENTRIES
from qcli_architectures.mobile_entries import MOBILE_ENTRIES
from qcli_architectures.onnx_entries import ONNX_ENTRIES
from qcli_architectures.plain_entries import PLAIN_ENTRIES
from qcli_architectures.preact_entries import PREACT_ENTRIES
from qcli_architectures.residual_entries import RESIDUAL_ENTRIES


@hookimpl
def qcli_register_architectures() -> list[ArchitectureEntry]:
    """Offer the bundled networks, and all classifiers of torchvision and timm."""
    return [
        *LENET_ENTRIES,
        *RESIDUAL_ENTRIES,
        *PREACT_ENTRIES,
        *PLAIN_ENTRIES,
        *ALEXNET_ENTRIES,
        *INCEPTION_ENTRIES,
        *MOBILE_ENTRIES,
        *ONNX_ENTRIES,
        ArchitectureEntry(
            name="torchvision:",
            summary="Every classifier of torchvision by its name there: torchvision:mobilenet_v2.",
            source="https://pytorch.org/vision/stable/models.html#classification",
            build="qcli_architectures.torchvision_family:build_member",
        ),
        ArchitectureEntry(
            name="timm:",
            summary="Every network of timm (extra `qcli[timm]`) by its name there: timm:resnet18; "
            "activations that it calls as functions get no output quantizer.",
            source="https://github.com/huggingface/pytorch-image-models",
            build="qcli_architectures.timm_family:build_member",
        ),
    ]
