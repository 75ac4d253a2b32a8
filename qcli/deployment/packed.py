"""The packed file: a graph in one safetensors file, guarded by a checksum. See docs/packed.md."""

from __future__ import annotations

import hashlib
import json
import operator
from pathlib import Path
from typing import Any

from qcli.deployment.graph import Graph
from qcli.deployment.graph_json import restore_graph, store_graph
from qcli.deployment.soundness import find_unsound
from qcli.errors import ArtifactError
from qcli.training.durable import write_atomically

FORMAT = "qcli-packed"
FORMAT_VERSION = 1

# Of the file's metadata. There is one alone: safetensors would put several in any order, and equal
# graphs must make equal files.
_KEY = "qcli"
# Stands for the checksum while it is computed, so that it covers every other byte of the file.
_BLANK = "0" * 64
_AGAIN = "write it again: qcli export RUN --format packed"


def write_graph(graph: Graph, path: Path) -> None:
    """Write a graph to one file.

    Raises:
        OSError: The disk is full or not writable.
    """
    content = pack_graph(graph)

    def write(beside: Path) -> None:
        beside.write_bytes(content)

    write_atomically(path, write)


def pack_graph(graph: Graph) -> bytes:
    """Return the content of a graph's file."""
    from safetensors.numpy import save

    document, arrays = store_graph(graph)
    header = {"format": FORMAT, "format_version": FORMAT_VERSION, "sha256": _BLANK, **document}
    text = json.dumps(header, default=operator.index, separators=(",", ":"))
    content = save(arrays, {_KEY: text})
    return content.replace(_BLANK.encode(), _digest(content).encode(), 1)


def read_graph(path: Path) -> Graph:
    """Read a graph that computes what the written one computed.

    Raises:
        ArtifactError: The file is damaged, of another kind, or newer than this qcli.
        OSError: It cannot be read.
    """
    if path.exists() and not path.is_file():
        what = "a directory" if path.is_dir() else "a pipe or a device"
        raise ArtifactError(f"{path}: is {what}; a packed file is expected")
    content = path.read_bytes()
    return unpack_graph(content, str(path))


def unpack_graph(content: bytes, name: str) -> Graph:
    """Return the graph of a file's content.

    Args:
        content: What `pack_graph` returned.
        name: What messages call the file.

    Raises:
        ArtifactError: As `read_graph`.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    header = _read_header(content, name)
    _require_whole(content, header, name)
    _require_known(header, name)
    try:
        graph = restore_graph(header, load(content))
    except (SafetensorError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise ArtifactError(f"{name}: holds no graph of integers; {_AGAIN}") from None
    unsound = find_unsound(graph)
    if unsound:
        raise ArtifactError(f"{name}: is damaged: {unsound}; {_AGAIN}")
    return graph


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_header(content: bytes, name: str) -> dict[str, Any]:
    """Return what the metadata of a safetensors file say of its graph."""
    size = int.from_bytes(content[:8], "little")
    table = _parse(content[8 : 8 + size])
    if len(content) < 8 + size or table is None:
        raise ArtifactError(f"{name}: is no packed file, or a damaged one; {_AGAIN}")
    metadata = table.get("__metadata__")
    text = metadata.get(_KEY) if isinstance(metadata, dict) else None
    header = _parse(text) if isinstance(text, str) else None
    if header is None or header.get("format") != FORMAT:
        raise ArtifactError(
            f"{name}: is a safetensors file, but not a packed one, or damaged; {_AGAIN}"
        )
    return header


def _parse(text: bytes | str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _require_whole(content: bytes, header: dict[str, Any], name: str) -> None:
    checksum = str(header.get("sha256"))
    blank = content.replace(checksum.encode("ascii", "replace"), _BLANK.encode(), 1)
    if len(checksum) != len(_BLANK) or _digest(blank) != checksum:
        raise ArtifactError(
            f"{name}: is damaged: its content does not match its checksum; copy it again, or "
            f"{_AGAIN}"
        )


def _require_known(header: dict[str, Any], name: str) -> None:
    version = header.get("format_version")
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{name}: has format version {version}, this qcli reads {FORMAT_VERSION}; "
            "install a newer qcli, or export it again with this one"
        )
