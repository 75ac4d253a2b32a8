"""The process in which one check runs: `python -P -m qcli.doctor.probe`.

It reads a task as JSON from its standard input and answers with findings as JSON on its standard
output; what a check prints goes to stderr.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qcli.catalog.catalog import resolve_build
from qcli.catalog.entries import HealthCheckEntry, HealthFinding, HealthRequest
from qcli.catalog.load import load_catalog
from qcli.doctor.checks import CHECKS
from qcli.doctor.outcome import SEVERITIES


def answer(task: dict[str, Any]) -> list[dict[str, str]]:
    """Make the check that a task names.

    Args:
        task: check, distribution, plugins (modules given with --plugin), data_root, full.

    Raises:
        Exception: The check breaks, or returns anything but findings.
    """
    entry = _find(task["check"], task["distribution"], task["plugins"])
    root = task["data_root"]
    request = HealthRequest(Path(root) if root else None, task["full"])
    findings = list(resolve_build(entry.check, entry.name)(request))
    _require_findings(entry.name, findings)
    return [asdict(finding) for finding in findings]


def _find(name: str, distribution: str, plugins: Sequence[str]) -> HealthCheckEntry:
    if distribution == "qcli" and (own := [each for each in CHECKS if each.name == name]):
        return own[0]
    offers = load_catalog(plugins).health_checks
    return next(
        each.entry
        for each in offers
        if (each.entry.name, each.distribution) == (name, distribution)
    )


def _require_findings(name: str, findings: Iterable[Any]) -> None:
    for each in findings:
        if not isinstance(each, HealthFinding):
            raise TypeError(f"{name} returned a {type(each).__name__}, allowed: qcli.HealthFinding")
        if not (isinstance(each.text, str) and isinstance(each.remedy, str)):
            raise TypeError(f"{name}: text and remedy of a finding are texts")
        if each.severity not in SEVERITIES:
            raise ValueError(
                f"{name} found the severity {each.severity!r}, allowed: {', '.join(SEVERITIES)}"
            )


def main() -> None:
    """Answer one task."""
    # What a check or a library prints must not stand among the findings.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as output:
        os.dup2(2, 1)
        with os.fdopen(os.dup(0), encoding="utf-8") as task:
            findings = answer(json.load(task))
        output.write(json.dumps(findings))


if __name__ == "__main__":
    main()
