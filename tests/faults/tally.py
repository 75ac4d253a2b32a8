"""What a script of faults counts, and how it ends."""

import sys
from dataclasses import dataclass, field

from forked import Ended


@dataclass
class Tally:
    """Counts cases; a case is lost where anything else came of it than what is promised.

    Args:
        name: Of the fault.
    """

    name: str
    cases: int = 0
    tracebacks: int = 0
    lost: list[str] = field(default_factory=list)

    def case(self, label: str, faults: list[str], *ended: Ended) -> None:
        """Count a case.

        Args:
            label: What was done.
            faults: What is not as promised.
            ended: The commands that were run, searched for tracebacks.
        """
        self.cases += 1
        told = [each.output for each in ended if each.has_traceback]
        self.tracebacks += bool(told)
        if faults:
            self.lost.append(label)
        print(f"{self.name}: {label}: {'lost' if faults else 'ok'}", flush=True)
        for text in (*faults, *told, *(each.output for each in ended if faults)):
            print(f"{self.name}: {label}: {text.strip()}", flush=True)

    def end(self) -> None:
        """Print the counts; exit with 1 where something was lost or a traceback told."""
        print(
            f"{self.name}: {self.cases} cases, {len(self.lost)} lost, {self.tracebacks} tracebacks"
        )
        sys.exit(1 if self.lost or self.tracebacks or not self.cases else 0)
