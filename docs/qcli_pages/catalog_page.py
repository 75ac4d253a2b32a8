"""Networks, data sets and export formats, as plugins offer them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch

from qcli.catalog.building import build_entry
from qcli.catalog.catalog import Offer
from qcli.catalog.entries import ArchitectureEntry, DatasetEntry, ExporterEntry
from qcli_pages import markdown
from qcli_pages.schema_table import options_table


def count_parameters(entry: ArchitectureEntry) -> int | None:
    """Return how many numbers a network trains as it stands in the catalog; None for a family."""
    if entry.name.endswith(":"):
        return None
    with torch.device("meta"):
        network = build_entry(entry, entry.default_num_classes, entry.default_image_shape)
    count: int = sum(math.prod(each.shape) for each in network.parameters() if each.requires_grad)
    return count


def make_architectures(offers: Mapping[str, Offer]) -> str:
    """Return the page of all networks, with parameter counts."""
    entries = [each.entry for each in offers.values() if isinstance(each.entry, ArchitectureEntry)]
    rows = []
    for entry in entries:
        count = count_parameters(entry)
        shape = " x ".join(map(str, entry.default_image_shape))
        rows.append(
            [
                f"[{markdown.code(entry.name)}](#{_anchor(entry.name)})",
                f"{count:,}" if count is not None else "by member",
                f"{entry.default_num_classes} classes, {shape}",
                markdown.text(entry.summary),
            ]
        )
    header = ("name", "parameters", "counted for", "what it is")
    words = (
        "# Networks\n\nWhat `-a` takes. The parameters are those of the network with its default "
        "options, for the classes and the image (channels, height, width) beside them. A name "
        "that ends with a colon is a family: `-a torchvision:resnet50`.\n"
    )
    return "\n".join([words, markdown.table(header, rows), *_details(entries)])


def make_datasets(offers: Mapping[str, Offer]) -> str:
    """Return the page of all data sets."""
    entries = [each.entry for each in offers.values() if isinstance(each.entry, DatasetEntry)]
    rows = [
        [
            f"[{markdown.code(entry.name)}](#{_anchor(entry.name)})",
            str(entry.num_classes or "as the files say"),
            " x ".join(map(str, entry.image_shape))
            if entry.image_shape
            else "as the network takes",
            str(len(entry.checksums) or ""),
            markdown.text(entry.summary),
        ]
        for entry in entries
    ]
    header = ("name", "classes", "image", "files with a checksum", "what it is")
    words = (
        "# Data sets\n\nWhat `-d` takes; `-p` names the folder where its files are. "
        "`qcli data check NAME` says what is there and compares checksums.\n"
    )
    return "\n".join([words, markdown.table(header, rows), *_details(entries)])


def make_exporters(offers: Mapping[str, Offer]) -> str:
    """Return the page of all export formats."""
    entries = [each.entry for each in offers.values() if isinstance(each.entry, ExporterEntry)]
    rows = [
        [
            f"[{markdown.code(entry.name)}](#{_anchor(entry.name)})",
            entry.suffix or "a folder",
            "yes" if entry.execute else "no",
            "integers" if entry.needs_integers else "float",
            markdown.text(entry.summary),
        ]
        for entry in entries
    ]
    header = ("name", "suffix", "run by `qcli verify`", "holds", "what it is")
    words = "# Export formats\n\nWhat `qcli export RUN --format` takes.\n"
    return "\n".join([words, markdown.table(header, rows), *_details(entries)])


def _details(
    entries: list[ArchitectureEntry] | list[DatasetEntry] | list[ExporterEntry],
) -> Iterator[str]:
    """Yield each entry's source and options."""
    for entry in entries:
        anchor = _anchor(entry.name)
        yield f"## {entry.name} {{ #{anchor} }}\n"
        yield f"{markdown.text(entry.summary)} Source: {markdown.text(entry.source)}\n"
        if entry.options:
            yield options_table(entry.options, anchor)


def _anchor(name: str) -> str:
    return name.rstrip(":")
