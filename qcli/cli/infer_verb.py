"""`qcli infer`: classify images with a packed artifact, without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qcli.cli.options import debug_option, json_option

if TYPE_CHECKING:
    from qcli.deployment.inference import Guess


@click.command("infer")
@click.argument("artifact", type=Path)
@click.argument("images", type=Path, nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="K",
    help="How many classes to name.",
)
@json_option
@debug_option
def command(artifact: Path, images: tuple[Path, ...], top: int, as_json: bool) -> None:
    """Classify image files, or .npy arrays of pixels, with a packed ARTIFACT.

    The scores are the network's logits: integers of the exact reference, as real numbers.
    """
    from qcli.deployment.image_files import read_images
    from qcli.deployment.inference import classify
    from qcli.deployment.packed import read_graph
    from qcli.reporting.console import print_data
    from qcli.reporting.inference import print_guesses

    graph = read_graph(artifact)
    names, pixels = read_images(images, graph)
    guesses = classify(graph, pixels, top)
    if as_json:
        rows = [_describe(name, best) for name, best in zip(names, guesses, strict=True)]
        document = {"schema_version": 1, "artifact": str(artifact), "images": rows}
        print_data(json.dumps(document, indent=2))
    else:
        print_guesses(names, guesses)


def _describe(name: str, best: list[Guess]) -> dict[str, object]:
    classes = [{"class": each.index, "name": each.name, "score": each.score} for each in best]
    return {"image": name, "classes": classes}
