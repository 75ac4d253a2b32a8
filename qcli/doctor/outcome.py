"""What came of one check, and of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from qcli.catalog.entries import HealthFinding, Severity

SCHEMA_VERSION = 1
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class Outcome:
    """What came of one check.

    Args:
        check: Its name.
        distribution: Who offers it.
        seconds: How long it took.
        findings: What it found, never nothing.
        trace: What it wrote to stderr, where it broke.
    """

    check: str
    distribution: str
    seconds: float
    findings: tuple[HealthFinding, ...]
    trace: str = ""


def count_findings(outcomes: Sequence[Outcome], severity: Severity) -> int:
    """Return how many findings have a severity."""
    return sum(finding.severity == severity for each in outcomes for finding in each.findings)


def outcomes_to_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return everything as JSON: stable, with a schema_version."""
    return {
        "schema_version": SCHEMA_VERSION,
        "errors": count_findings(outcomes, "error"),
        "warnings": count_findings(outcomes, "warning"),
        "checks": [
            {
                "check": each.check,
                "distribution": each.distribution,
                "seconds": round(each.seconds, 3),
                "findings": [asdict(finding) for finding in each.findings],
            }
            for each in outcomes
        ],
    }
