"""Write the folder of a network in C, and read back what it says about itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from qcli import Deployment, ExportError
from qcli.deployment.graph import Graph, Tensor
from qcli_exporters.c99.manifest import Manifest, observe, read_manifest, write_manifest
from qcli_exporters.c99.source import write_source

# Places in a tensor are int32 in C.
MOST_NUMBERS = 1 << 31


def write_c99(deployment: Deployment, path: Path, *, name: str = "") -> dict[str, int]:
    """Write NAME.c, NAME.h, main.c, a Makefile and manifest.json into a folder.

    Args:
        deployment: With its integer graph.
        path: The folder; made where it is not there.
        name: What files and identifiers begin with; "": the deployment's name.

    Returns:
        What `describe_c99` reads back: the bytes of RAM and flash.

    Raises:
        ExportError: A tensor is too large for 32-bit places or 64-bit integers.
    """
    path = Path(path)
    graph, name = deployment.integers, name_in_c(name or deployment.name)
    _check(graph)
    source = write_source(graph, name)
    observed = [observe(source.program.stored[each]) for each in graph.observed]
    shape = list(graph.image.shape)
    manifest = Manifest(name, source.ram_bytes, source.flash_bytes, shape, observed)
    path.mkdir(parents=True, exist_ok=True)
    for file, text in source.files.items():
        (path / file).write_text(text, "utf-8")
    write_manifest(manifest, path)
    return describe_c99(path)


def describe_c99(path: Path) -> dict[str, int]:
    """Return the bytes of RAM and flash: {"ram_bytes": ..., "flash_bytes": ...}.

    RAM is what all static variables take, flash what all constant tables take; machine code and
    stack come on top.

    Raises:
        ArtifactError: The folder is damaged.
    """
    manifest = read_manifest(Path(path))
    return {"ram_bytes": manifest.ram_bytes, "flash_bytes": manifest.flash_bytes}


def name_in_c(name: str) -> str:
    """Return a name that can begin identifiers, and files beside main.c."""
    plain = name.isascii() and name[:1].isalpha() and name.lower() != "main"
    return name if plain else f"net_{name}"


def _check(graph: Graph) -> None:
    faults = [fault for tensor in graph.tensors.values() for fault in _find_faults(tensor)]
    if faults:
        raise ExportError(faults)


def _find_faults(tensor: Tensor) -> Iterator[str]:
    try:
        _ = tensor.dtype
    except OverflowError as error:
        yield f"{error}; c99 computes with 64 bits: quantize earlier"
    count = math.prod(tensor.shape)
    if count >= MOST_NUMBERS:
        yield f"{tensor.name}: {count} numbers; c99 counts to {MOST_NUMBERS - 1}"
