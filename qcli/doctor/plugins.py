"""Every plugin that is installed, and what broke."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from qcli.catalog.catalog import Catalog, PluginRecord
from qcli.catalog.entries import HealthFinding, HealthRequest
from qcli.catalog.load import load_catalog


def check_plugins(request: HealthRequest) -> Iterator[HealthFinding]:
    """Load every plugin."""
    yield from find_plugins(load_catalog())


def find_plugins(catalog: Catalog) -> Iterator[HealthFinding]:
    """Say what became of each plugin."""
    for record in catalog.plugins:
        if record.problem == "disabled":
            told = f"{record.name} of {record.distribution} is left out by QCLI_DISABLE_PLUGINS"
            yield HealthFinding("note", told, "unset QCLI_DISABLE_PLUGINS")
        elif record.problem is not None:
            yield _tell_broken(record)
    broken = [record for record in catalog.plugins if record.problem not in (None, "disabled")]
    # Those that follow tell of names that two plugins offer.
    for doubled in catalog.problems[len(broken) :]:
        yield HealthFinding("error", doubled, "qcli list plugins")
    working = [record for record in catalog.plugins if record.problem is None]
    distributions = sorted({f"{each.distribution} {each.version}".strip() for each in working})
    told = f"{len(working)} plugins work, of {', '.join(distributions) or 'nothing'}"
    yield HealthFinding("ok" if working else "error", told, "" if working else "pip install qcli")


def _tell_broken(record: PluginRecord) -> HealthFinding:
    if record.distribution == "QCLI_DISABLE_PLUGINS":
        told = f"QCLI_DISABLE_PLUGINS {record.problem}: {record.name}"
        return HealthFinding("warning", told, "unset QCLI_DISABLE_PLUGINS")
    name = f"{record.name} of {record.distribution} {record.version}".strip()
    remedy = f"pip install --upgrade --force-reinstall {shlex.quote(record.distribution)}"
    return HealthFinding("error", f"{name} is broken: {record.problem}", remedy)
