"""`qcli verify`: prove that every form of a run's network computes the same integers."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from qcli.catalog.catalog import Catalog
from qcli.catalog.load import load_catalog
from qcli.cli.deployment_options import deployment_options
from qcli.cli.forms import FormWriter, choose_forms
from qcli.cli.options import json_option, plugin_options
from qcli.cli.stopping import stopped_by_signals
from qcli.errors import TargetError, UsageError

if TYPE_CHECKING:
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
    from qcli.reporting.next_steps import after_proof, say_next
    from qcli.training.run_directory import RunDirectory

    catalog = load_catalog(options["plugins"])
    given = [_read_artifact(text, catalog) for text in artifacts]
    _require_effect(options["scaling"], forms, artifacts)
    prepared = prepare_run(run, **{**options, "scaling": "exact"})
    directory = RunDirectory(run)
    with stopped_by_signals(), TemporaryDirectory() as folder:
        chosen = [] if artifacts and not forms else list(choose_forms(catalog, forms))
        writer = FormWriter(prepared, catalog, options["scaling"], Path(folder), bool(forms))
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
    if not as_json:
        say_next(after_proof(run, options["weights"]))


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
