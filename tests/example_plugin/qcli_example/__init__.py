"""A quantizer, a network and a data set: entries only, so that nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterable

from qcli import ArchitectureEntry, DatasetEntry, QuantizerEntry, hookimpl


@hookimpl
def qcli_register_quantizers() -> Iterable[QuantizerEntry]:
    """Offer power_of_two."""
    return [
        QuantizerEntry(
            name="power_of_two",
            summary="Every weight is a signed power of two: a multiplication is a shift.",
            source="Miyashita et al., 2016, arXiv:1603.01025",
            build="qcli_example.power_of_two:PowerOfTwo",
            options={
                "bits": {
                    "description": "The width of a code in bits; one of them is the sign.",
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 5,
                    "default": 3,
                },
            },
            quantizes=frozenset({"weight"}),
        )
    ]


@hookimpl
def qcli_register_architectures() -> Iterable[ArchitectureEntry]:
    """Offer tiny_cnn."""
    return [
        ArchitectureEntry(
            name="tiny_cnn",
            summary="Two convolutions and a linear layer, for images of any shape.",
            source="this example",
            build="qcli_example.tiny_cnn:build_tiny_cnn",
            options={
                "width": {
                    "description": "The channels of the first convolution; the second has twice.",
                    "type": "integer",
                    "minimum": 1,
                    "default": 8,
                },
            },
            first_layer="conv1",
            last_layer="fc",
            default_num_classes=2,
            default_image_shape=(1, 16, 16),
        )
    ]


@hookimpl
def qcli_register_datasets() -> Iterable[DatasetEntry]:
    """Offer bars."""
    return [
        DatasetEntry(
            name="bars",
            summary="Noise with a horizontal or a vertical bar, drawn in memory.",
            source="this example",
            build="qcli_example.bars:build_bars",
            options={
                "train_images": {
                    "description": "The number of training images.",
                    "type": "integer",
                    "minimum": 2,
                    "default": 512,
                },
            },
            num_classes=2,
        )
    ]
