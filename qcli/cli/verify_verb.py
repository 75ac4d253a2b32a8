"""`qcli verify`: prove that every form of a run's network computes the same integers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from qcli.catalog.catalog import Catalog
from qcli.catalog.given_options import parse_options
from qcli.catalog.load import load_catalog
from qcli.cli.deployment_options import deployment_options
from qcli.cli.options import json_option, plugin_options
from qcli.errors import TargetError, UsageError

if TYPE_CHECKING:
    from qcli.deployment.preparation import Prepared
    from qcli.deployment.verification import Artifact, Verification


@click.command("verify")
@click.argument("run", type=Path)
@click.option(
    "--format",
    "forms",
    multiple=True,
    metavar="FORMAT",
    help="A form to write and run; default: all that can be run; may be repeated.",
)
@click.option(
    "--artifact",
    "artifacts",
    multiple=True,
    metavar="FORMAT=PATH",
    help="A file or folder that `qcli export` wrote before, in place of a new one.",
)
@click.option("--images", type=click.IntRange(1), help="How many test images; default: all.")
@deployment_options
@json_option
@plugin_options
def command(
    run: Path,
    forms: tuple[str, ...],
    artifacts: tuple[str, ...],
    images: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Run the integers of a finished RUN in every form on test images, and compare all of them.

    Writes RUN/verify.json; exits with 4 where a form differs.
    """
    from qcli.deployment.preparation import prepare_run
    from qcli.deployment.verification import hash_path, to_json, verify
    from qcli.reporting.console import print_data
    from qcli.reporting.deployment import print_verification
    from qcli.training.run_directory import RunDirectory

    catalog = load_catalog(options["plugins"])
    given = [_read_artifact(text, catalog) for text in artifacts]
    prepared = prepare_run(run, **{**options, "scaling": "exact"})
    reference = prepared.deployment.integers
    with TemporaryDirectory() as folder:
        written = _write(prepared, catalog, forms, bool(given), options["scaling"], Path(folder))
        verification = verify(
            prepared,
            reference,
            [*given, *written],
            data_dir=options["data_dir"],
            most_images=images,
        )
        facts = {
            "run": str(run),
            "weights": options["weights"],
            "weights_sha256": hash_path(run / f"{options['weights']}.safetensors"),
            "recipes_sha256": prepared.revival.record["recipes_sha256"],
            "scaling": options["scaling"],
        }
        certificate = to_json(verification, reference, facts)
    RunDirectory(run).write("verify.json", certificate)
    if as_json:
        print_data(json.dumps(certificate, indent=2))
    else:
        print_verification(verification, reference)
    _judge(verification, options["scaling"])


def _judge(verification: Verification, scaling: str) -> None:
    if scaling == "exact" and not verification.holds:
        raise TargetError("not every form computes the integers of the reference")


def _read_artifact(text: str, catalog: Catalog) -> Artifact:
    from qcli.deployment.verification import Artifact

    name, equals, path = text.partition("=")
    if not equals:
        raise UsageError(f"--artifact {text}: write FORMAT=PATH, such as packed=lenet.qcli")
    entry = catalog.exporter(name)
    if entry.execute is None:
        raise UsageError(f"--artifact {text}: {name} is not run here, and so not verified")
    if not Path(path).exists():
        raise UsageError(f"--artifact {text}: {path} does not exist")
    return Artifact(entry, Path(path), path)


def _write(
    prepared: Prepared,
    catalog: Catalog,
    forms: tuple[str, ...],
    any_given: bool,
    scaling: str,
    folder: Path,
) -> list[Artifact]:
    """Write the forms that were asked for, or all, unless others were brought along."""
    from dataclasses import replace

    from qcli.deployment.scaling import coarsen
    from qcli.deployment.verification import Artifact
    from qcli.deployment.writing import write_form

    graph = coarsen(prepared.deployment.integers, scaling)
    deployment = replace(prepared.deployment, graph=graph)
    written = []
    for name, options in _choose(catalog, forms, any_given):
        entry = catalog.exporter(name)
        label = " ".join([name, *(str(value) for value in options.values())])
        path = folder / f"{label.replace(' ', '-')}{entry.suffix}"
        write_form(entry, deployment, path, options)
        told = label if scaling == "exact" else f"{label}, {scaling} (lossy)"
        written.append(Artifact(entry, path, told))
    return written


def _choose(
    catalog: Catalog, forms: tuple[str, ...], any_given: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield formats with their options: one with a choice of forms is run in each."""
    runnable = [
        offer.entry.name
        for offer in catalog.of_kind("exporters").values()
        if getattr(offer.entry, "execute", None) is not None
    ]
    for name in forms or ([] if any_given else runnable):
        entry = catalog.exporter(name)
        if entry.execute is None:
            raise UsageError(f"--format {name}: it is not run here; allowed: {', '.join(runnable)}")
        defaults = parse_options(entry, ())
        choices = entry.options.get("form", {}).get("enum")
        forms_of_it = [{"form": choice} for choice in choices] if choices else [{}]
        yield from ((name, {**defaults, **form}) for form in forms_of_it)
