"""The laws of architectures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qcli.catalog.catalog import resolve_build
from qcli.catalog.entries import ArchitectureEntry
from qcli.quantization.survey import quantizable_layers
from qcli.testing.entry_laws import describes_options, matches_build
from qcli.testing.law import Law, check_laws


@dataclass(frozen=True)
class _Network:
    entry: ArchitectureEntry
    options: Mapping[str, Any]

    def build(self, num_classes: int) -> nn.Module:
        with torch.device("meta"):
            build = resolve_build(self.entry.build, self.entry.name)
            network: nn.Module = build(num_classes, self.entry.default_image_shape, **self.options)
        return network


def classifies(network: _Network) -> Iterator[str]:
    """In train and eval mode, images [B, C, H, W] become scores [B, num_classes]."""
    images = torch.empty(2, *network.entry.default_image_shape, device="meta")
    for num_classes in (network.entry.default_num_classes, 7):
        module = network.build(num_classes)
        for training in (True, False):
            scores: Tensor = module.train(training)(images)
            shape = getattr(scores, "shape", None)
            if shape != (2, num_classes):
                yield f"{num_classes} classes: {type(scores).__name__} of shape {shape}"


def names_its_ends(network: _Network) -> Iterator[str]:
    """first_layer and last_layer, where given, are layers that can be quantized."""
    known = {name for name, _ in quantizable_layers(network.build(7))}
    for end in ("first_layer", "last_layer"):
        name = getattr(network.entry, end)
        if name is not None and name not in known:
            yield f'{end} is "{name}", the layers are {", ".join(sorted(known))}'


_LAWS: tuple[Law[_Network], ...] = (classifies, names_its_ends)
_ENTRY_LAWS: tuple[Law[ArchitectureEntry], ...] = (describes_options, matches_build)


def check_architecture(entry: ArchitectureEntry, options: Mapping[str, Any] | None = None) -> None:
    """Check an architecture's entry; networks are built on the meta device, without memory.

    Args:
        entry: What the plugin hands over.
        options: Options in place of the defaults; of a family, also its `member`.

    Raises:
        LawBroken: An AssertionError that names the entry, the law and what was found.
    """
    check_laws(_ENTRY_LAWS, entry, entry.name, "options")
    place = ", ".join(f"{key} {part}" for key, part in (options or {}).items()) or "defaults"
    check_laws(_LAWS, _Network(entry, options or {}), entry.name, place)
