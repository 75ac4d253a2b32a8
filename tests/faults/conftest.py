"""Counts what the tests of faults went through, and tells it at the end of a session."""

from dataclasses import dataclass, fields

import pytest


@dataclass
class Tally:
    """What one test went through.

    Args:
        cases: Faults that were tried.
        lost: Cases after which something on disk was gone or changed.
        tracebacks: Cases that ended in anything but a message or success.
    """

    cases: int = 0
    lost: int = 0
    tracebacks: int = 0


COUNTS = [field.name for field in fields(Tally)]


@pytest.fixture
def tally(record_property):
    """Return the counts of a test; they appear in the summary."""
    counts = Tally()
    yield counts
    for name in COUNTS:
        record_property(name, getattr(counts, name))


def pytest_terminal_summary(terminalreporter):
    """Print the counts of every module and of all."""
    rows = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            found = dict(getattr(report, "user_properties", ()))
            if getattr(report, "when", None) == "teardown" and "cases" in found:
                row = rows.setdefault(report.nodeid.partition("::")[0], dict.fromkeys(COUNTS, 0))
                for name in COUNTS:
                    row[name] += found[name]
    if not rows:
        return
    terminalreporter.section("faults")
    total = {name: sum(row[name] for row in rows.values()) for name in COUNTS}
    for module, row in [*sorted(rows.items()), ("all", total)]:
        numbers = ", ".join(f"{row[name]:,} {name}" for name in COUNTS)
        terminalreporter.write_line(f"{module}: {numbers}")
