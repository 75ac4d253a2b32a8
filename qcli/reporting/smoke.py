"""What `qcli train --smoke` tells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qcli.reporting.console import format_seconds, print_data, say


class SmokeReport:
    """Tells each step when it is done."""

    def note(self, text: str) -> None:
        """Say how it is tried, to stderr."""
        say(f"smoke: {text}")

    def step(self, name: str, told: str, seconds: float | None = None) -> None:
        """Print what a step came to, to stdout."""
        took = "" if seconds is None else f", {format_seconds(seconds)}"
        print_data(f"{name}: {told}{took}")

    def not_ready(self, faults: Sequence[str]) -> None:
        """Print why there are no integers."""
        print_data("export as integers: skipped, the network is not ready for it:")
        for fault in faults:
            print_data(f"  {fault}")

    def end(self, kept: Path | None, faults: Sequence[str]) -> None:
        """Print the last word."""
        where = f"the run is kept: {kept}" if kept else "nothing is left behind"
        print_data(f"{'it does not work' if faults else 'it works'}; {where}")
