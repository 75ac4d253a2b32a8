"""The entries of the LeNets."""

from __future__ import annotations

from qcli import ArchitectureEntry
from qcli_architectures.entry_options import (
    BLOCK_OPTIONS,
    Options,
    describe_batch_norm,
    describe_dropout,
)


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


LENET_ENTRIES = [
    _lenet(
        "lenet5",
        "LeNet-5 in its wide form, 32-64-512.",
        "Li et al., Ternary Weight Networks, 2016, arXiv:1605.04711",
        {**BLOCK_OPTIONS, **describe_batch_norm("after every hidden layer", default=True)},
        last_layer="fc2",
    ),
    _lenet(
        "lenet5_caffe",
        "LeNet-5 as in Caffe, 20-50-500.",
        "Jia et al., Caffe, 2014, arXiv:1408.5093",
        {**BLOCK_OPTIONS, **describe_batch_norm("after both convolutions", default=False)},
        last_layer="fc2",
    ),
    _lenet(
        "lenet5_classic",
        "LeNet-5 in its first widths, 6-16-120-84.",
        "LeCun et al., Gradient-Based Learning Applied to Document Recognition, "
        "Proceedings of the IEEE, 1998",
        BLOCK_OPTIONS,
        last_layer="fc3",
    ),
    ArchitectureEntry(
        name="lenet_n2d2",
        summary="LeNet as in N2D2, 6-16-120-84: norms, no biases, images of 32 pixels or more.",
        source="N2D2, https://github.com/CEA-LIST/N2D2",
        build="qcli_architectures.lenet_n2d2:build_lenet_n2d2",
        options={**BLOCK_OPTIONS, **describe_dropout("before both linear layers")},
        first_layer="conv1",
        last_layer="fc2",
        default_num_classes=10,
        default_image_shape=(1, 32, 32),
    ),
]
