"""What the folder of a network in C says about itself, in manifest.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from qcli import ArtifactError
from qcli_exporters.c99.stored import Stored

FILE = "manifest.json"


@dataclass(frozen=True)
class Observed:
    """A tensor that the network tells.

    Args:
        name: In the graph.
        shape: Of one image, channels first.
        dtype: Of its integers.
        frame: The shape whose elements lie channels last, as in `Stored`.
    """

    name: str
    shape: list[int]
    dtype: str
    frame: list[int]

    @property
    def lying(self) -> tuple[int, ...]:
        """The shape of one image in memory."""
        channels, *rest = self.frame
        return (*rest, channels)


@dataclass(frozen=True)
class Manifest:
    """The facts of a network in C.

    Args:
        name: What its functions and files begin with.
        ram_bytes: What static variables take.
        flash_bytes: What constant tables take.
        image: [C, H, W].
        observed: In the order in which they are told.
    """

    name: str
    ram_bytes: int
    flash_bytes: int
    image: list[int]
    observed: list[Observed]


def observe(stored: Stored) -> Observed:
    """Return how a tensor is told."""
    tensor = stored.tensor
    return Observed(tensor.name, list(tensor.shape), tensor.dtype, list(stored.frame))


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write the manifest into the folder."""
    (folder / FILE).write_text(json.dumps(asdict(manifest), indent=2) + "\n", "utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder.

    Raises:
        ArtifactError: It is missing or damaged.
    """
    file = folder / FILE
    try:
        facts = json.loads(file.read_text("utf-8"))
        observed = [Observed(**each) for each in facts.pop("observed")]
        return Manifest(**facts, observed=observed)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(
            f"{file}: no manifest of a c99 export: {error}; export again"
        ) from error
