"""`qcli doctor`: what is wrong with this machine and installation, and what mends it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from qcli.catalog.load import load_catalog
from qcli.cli.options import json_option, plugin_options
from qcli.errors import QcliError

# Seconds that a check may take.
TIMEOUT, FULL_TIMEOUT = 120.0, 3600.0


@click.command("doctor")
@click.argument("checks", nargs=-1, metavar="[CHECK]...")
@click.option("-p", "--data-dir", type=Path, metavar="DIR", help="Where data sets lie.")
@click.option("--full", is_flag=True, help="Read everything: all files of data sets.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Seconds that a check may take.  [default: 120, with --full 3600]",
)
@json_option
@plugin_options
def command(
    checks: tuple[str, ...],
    data_dir: Path | None,
    full: bool,
    timeout: float | None,
    as_json: bool,
    plugins: tuple[str, ...],
) -> None:
    """Look at the machine and the installation, and say what to type where something is wrong.

    Exits with 1 where there is an error; warnings and notes are none.
    """
    from qcli.doctor.outcome import count_findings, outcomes_to_json
    from qcli.doctor.runner import Circumstances, Runner, list_checks, with_trace
    from qcli.reporting.console import print_data
    from qcli.reporting.doctor import print_outcomes
    from qcli.reporting.next_steps import after_doctor, say_next

    wanted = list_checks(load_catalog(plugins), checks)
    limit = timeout or (FULL_TIMEOUT if full else TIMEOUT)
    root = data_dir.absolute() if data_dir else None
    runner = Runner(Circumstances(plugins, root, full, limit))
    outcomes = runner.run(wanted, at_once=min(8, os.cpu_count() or 1))
    if "--debug" in sys.argv:
        outcomes = [with_trace(each) for each in outcomes]
    if as_json:
        print_data(json.dumps(outcomes_to_json(outcomes), indent=2))
    else:
        print_outcomes(outcomes)
    if errors := count_findings(outcomes, "error"):
        raise QcliError(f"{errors} {'errors' if errors > 1 else 'error'} found; see above")
    if not as_json:
        say_next(after_doctor())
