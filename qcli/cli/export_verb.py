"""`qcli export`: write the network of a run in a form that other programs read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from qcli.catalog.entries import ExporterEntry
from qcli.catalog.given_options import parse_options
from qcli.catalog.load import load_catalog
from qcli.cli.deployment_options import deployment_options
from qcli.cli.options import json_option, plugin_options
from qcli.cli.stopping import stopped_by_signals


@click.command("export")
@click.argument("run", type=Path)
@click.option(
    "--format", "form", required=True, metavar="FORMAT", help="One of `qcli list exporters`."
)
@click.option("-o", "--output", type=Path, metavar="PATH", help="A new file or folder.")
@click.option(
    "--option",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the format; `qcli show FORMAT` lists them; may be repeated.",
)
@deployment_options
@json_option
@plugin_options
def command(
    run: Path,
    form: str,
    output: Path | None,
    settings: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Write the network of a finished RUN in FORMAT, and say how large it is.

    `qcli verify RUN` proves that all forms compute the same integers.
    """
    entry = load_catalog(options["plugins"]).exporter(form)
    from qcli.deployment.preparation import prepare_run
    from qcli.deployment.writing import require_free, size_of, write_form
    from qcli.reporting.console import print_data
    from qcli.reporting.deployment import print_sizes, sizes_to_json
    from qcli.reporting.next_steps import after_export, say_next

    chosen = parse_options(entry, settings)
    path = output or _default_path(run, entry)
    require_free(path)
    prepared = prepare_run(run, integers=entry.needs_integers, **_lowering(entry, options))
    with stopped_by_signals():
        told = write_form(entry, prepared.deployment, path, chosen)
    if as_json:
        sizes = sizes_to_json(prepared.deployment, path, size_of(path))
        print_data(json.dumps({**sizes, "told": told}, indent=2))
        return
    print_sizes(prepared.deployment, path, size_of(path), told)
    is_exact = options["scaling"] == "exact"
    runs_here = entry.execute is not None
    steps = after_export(
        form, path, run, options["weights"], is_run_here=runs_here, is_exact=is_exact
    )
    say_next(steps)


def _default_path(run: Path, entry: ExporterEntry) -> Path:
    return Path(f"{run.resolve().name}-{entry.name}{entry.suffix}")


def _lowering(entry: ExporterEntry, options: dict[str, Any]) -> dict[str, Any]:
    if options["scaling"] != "exact" and not entry.needs_integers:
        from qcli.errors import UsageError

        raise UsageError(
            f"--scaling {options['scaling']} has no effect: {entry.name} is no form of integers"
        )
    return options
