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
from qcli.cli.stopping import stopped_by_signals
from qcli.errors import ExportError, MissingTool, TargetError, UsageError

if TYPE_CHECKING:
    from qcli.deployment.preparation import Prepared
    from qcli.deployment.verdict import Artifact, Verdict


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
    from qcli.deployment.certificate import certify
    from qcli.deployment.preparation import prepare_run
    from qcli.deployment.verification import verify
    from qcli.reporting.console import print_data
    from qcli.reporting.deployment import print_verification
    from qcli.training.run_directory import RunDirectory

    catalog = load_catalog(options["plugins"])
    given = [_read_artifact(text, catalog) for text in artifacts]
    _require_effect(options["scaling"], forms, artifacts)
    prepared = prepare_run(run, **{**options, "scaling": "exact"})
    directory = RunDirectory(run)
    with stopped_by_signals(), TemporaryDirectory() as folder:
        chosen = [] if artifacts and not forms else list(_choose(catalog, forms))
        writer = _Writer(prepared, catalog, options["scaling"], Path(folder), bool(forms))
        written = [writer.write(name, settings) for name, settings in chosen]
        ready = [each for each in written if not _is_skipped(each)]
        verification = verify(
            prepared,
            [*given, *(each.artifact for each in ready)],
            data_dir=options["data_dir"],
            most_images=images,
        ).with_skipped([each for each in written if _is_skipped(each)])
        facts = {"run": str(run), "scaling": options["scaling"]}
        certificate = certify(verification, facts)
    directory.write("verify.json", certificate)
    if as_json:
        print_data(json.dumps(certificate, indent=2))
    else:
        print_verification(verification)
    if verification.failed:
        raise TargetError("\n".join(verification.faults))


def _is_skipped(verdict: Verdict) -> bool:
    return bool(verdict.skipped)


def _require_effect(scaling: str, forms: tuple[str, ...], artifacts: tuple[str, ...]) -> None:
    if scaling != "exact" and artifacts and not forms:
        raise UsageError(
            f"--scaling {scaling} has no effect: it scales forms that are written, and none is; "
            "add --format"
        )


def _read_artifact(text: str, catalog: Catalog) -> Artifact:
    from qcli.deployment.verdict import Artifact

    name, equals, path = text.partition("=")
    if not equals:
        raise UsageError(f"--artifact {text}: write FORMAT=PATH, such as packed=lenet.qcli")
    entry = catalog.exporter(name)
    if entry.execute is None:
        raise UsageError(f"--artifact {text}: {name} is not run here, and so not verified")
    if not Path(path).exists():
        raise UsageError(f"--artifact {text}: {path} does not exist")
    return Artifact(entry, Path(path), path)


def _choose(catalog: Catalog, forms: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield formats with their options: one with an option `form` is run in each."""
    runnable = [
        offer.entry.name
        for offer in catalog.of_kind("exporters").values()
        if getattr(offer.entry, "execute", None) is not None
    ]
    for name in dict.fromkeys(forms) or runnable:
        entry = catalog.exporter(name)
        if entry.execute is None:
            raise UsageError(f"--format {name}: it is not run here; allowed: {', '.join(runnable)}")
        defaults = parse_options(entry, ())
        choices = entry.options.get("form", {}).get("enum")
        forms_of_it = [{"form": choice} for choice in choices] if choices else [{}]
        yield from ((name, {**defaults, **form}) for form in forms_of_it)


class _Writer:
    """Writes forms into a folder.

    Args:
        prepared: The run.
        catalog: Where formats are found.
        scaling: How they scale sums.
        folder: Where to.
        demanded: Whether the user named the formats: one that cannot hold the network fails.
    """

    def __init__(
        self, prepared: Prepared, catalog: Catalog, scaling: str, folder: Path, demanded: bool
    ) -> None:
        from dataclasses import replace

        from qcli.deployment.scaling import coarsen

        graph = coarsen(prepared.deployment.integers, scaling)
        self.deployment = replace(prepared.deployment, graph=graph)
        self.catalog, self.scaling, self.folder = catalog, scaling, folder
        self.refusals: tuple[type[Exception], ...] = (MissingTool, ExportError)
        if demanded:
            self.refusals = (MissingTool,)

    def write(self, name: str, settings: dict[str, Any]) -> Verdict:
        """Write one form; where it cannot be written, say why."""
        from qcli.deployment.comparison import Agreement
        from qcli.deployment.verdict import Artifact, Verdict
        from qcli.deployment.writing import write_form

        entry = self.catalog.exporter(name)
        label = " ".join([name, *(str(value) for value in settings.values() if value)])
        path = self.folder / f"{label.replace(' ', '-')}{entry.suffix}"
        lossy = self.scaling != "exact"
        told = f"{label}, {self.scaling} (lossy)" if lossy else label
        artifact = Artifact(entry, path, told, lossy)
        try:
            write_form(entry, self.deployment, path, settings)
        except self.refusals as error:
            return Verdict(artifact, Agreement(), skipped=str(error).replace("\n", "; "))
        return Verdict(artifact, Agreement())
