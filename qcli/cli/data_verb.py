"""`qcli data`: what is there of a data set and what is not; photographs made fast to read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qcli.catalog.entries import DatasetEntry, Shape
from qcli.catalog.load import load_catalog
from qcli.cli.options import json_option, plugin_options
from qcli.errors import DataError, RecipeError, UsageError
from qcli.recipe.checking import fill_defaults, options_schema
from qcli.recipe.checks import check_options
from qcli.recipe.document import Document, parse_json

if TYPE_CHECKING:
    from qcli.training.checksums import Checksum

# For data sets that make images in the shape that a network takes.
ANY_SHAPE: Shape = (3, 32, 32)
# Of JPEG where --quality says nothing.
QUALITY = 90


@click.group("data")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def command() -> None:
    """Check data sets, and make them fast to read."""


data_dir_option = click.option(
    "-p", "--data-dir", type=Path, metavar="DIR", help="Where data sets lie."
)
set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set an option of the data set, as in --set layout=flat; may be repeated.",
)


@command.command("check")
@click.argument("name")
@data_dir_option
@set_option
@click.option("--download", is_flag=True, help="Fetch the files where they are missing.")
@click.option("--all", "decode_all", is_flag=True, help="Decode every image, not a sample.")
@json_option
@plugin_options
def check(
    name: str,
    data_dir: Path | None,
    settings: tuple[str, ...],
    download: bool,
    decode_all: bool,
    as_json: bool,
    plugins: tuple[str, ...],
) -> None:
    """Check the files of a data set: what is there, what is missing, what is damaged."""
    entry = load_catalog(plugins).dataset(name)
    options = _read_options((*settings, *(["download=true"] if download else [])), entry)
    from qcli.reporting.console import say
    from qcli.reporting.inventory import inventory_as_json, print_inventory
    from qcli.training.checksums import take_checksums
    from qcli.training.data import build_splits
    from qcli.training.inventory import take_inventory
    from qcli.training.pack import find_damage, is_pack

    files = take_checksums(data_dir, entry.checksums) if data_dir else []
    faults = [_tell(file) for file in files if not file.is_right]
    class_names: list[str] = []
    parts = {}
    try:
        if data_dir and is_pack(data_dir):
            faults += (damage := find_damage(data_dir))
            if not damage:
                say(f"{data_dir}: is a pack, and all its files are as they were packed")
        splits = build_splits(entry, data_dir, entry.image_shape or ANY_SHAPE, options)
        parts = take_inventory(splits, decode_all)
        if entry.image_shape is None:
            parts = {split: replace(part, shape=None) for split, part in parts.items()}
        class_names = list(splits.class_names)
        faults += [fault for part in parts.values() for fault in part.faults]
    except DataError as error:
        faults.append(str(error))
    if as_json:
        from qcli.reporting.console import print_data

        found = inventory_as_json(name, files, parts, class_names)
        print_data(json.dumps({**found, "faults": faults}, indent=2))
    else:
        print_inventory(files, parts, class_names)
    if faults:
        raise DataError("\n".join(faults))


@command.command("pack")
@click.argument("name")
@data_dir_option
@click.option("-o", "--output", type=Path, required=True, metavar="DIR", help="The folder to make.")
@click.option(
    "--size",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="The shorter side of the images in pixels; smaller images are not enlarged.",
)
@click.option(
    "--quality", type=click.IntRange(1, 95), help="Of the JPEG images: 1 to 95.  [default: 90]"
)
@click.option("--raw", is_flag=True, help="Store pixels: ten times larger, and faster to read.")
@click.option("--workers", type=click.IntRange(0), help="Processes that decode; else all cores.")
@set_option
@plugin_options
def pack(
    name: str,
    data_dir: Path | None,
    output: Path,
    size: int,
    quality: int | None,
    raw: bool,
    workers: int | None,
    settings: tuple[str, ...],
    plugins: tuple[str, ...],
) -> None:
    """Resize photographs once and store them in a few large files, which training reads fast.

    Give the new folder to the other verbs with -p in place of the photographs.
    """
    if raw and quality is not None:
        raise UsageError("--quality has no effect with --raw; remove one of them")
    entry = load_catalog(plugins).dataset(name)
    options = _read_options(settings, entry)
    from qcli.reporting.next_steps import after_packing, say_next
    from qcli.reporting.packing import PackingReport
    from qcli.training.data import build_splits
    from qcli.training.pack import Source
    from qcli.training.packing import pack_splits

    splits = build_splits(entry, data_dir, entry.image_shape or ANY_SHAPE, options)
    root = str(data_dir.resolve()) if data_dir else ""
    source = Source(name, options, root, size, None if raw else quality or QUALITY)
    with PackingReport(output) as report:
        report.end(pack_splits(splits, source, output, workers, report.progress))
    say_next(after_packing(name, output))


def _tell(file: Checksum) -> str:
    return (
        f"{file.path}: is not as published: its MD5 is {file.md5}, expected {file.expected}; copy "
        "the file again, or delete it and pass --download"
    )


def _read_options(settings: tuple[str, ...], entry: DatasetEntry) -> dict[str, Any]:
    """Return the options of a data set, checked and complete."""
    given: dict[str, Any] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {text}: write KEY=VALUE, as in --set layout=flat")
        try:
            given[key] = parse_json(value)
        except (ValueError, RecursionError):
            given[key] = value
    if faults := check_options(Document("--set", {"dataset": given}), "dataset", entry.options):
        raise RecipeError(faults)
    filled: dict[str, Any] = fill_defaults(given, options_schema(entry.options))
    return filled
