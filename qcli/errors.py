"""The exceptions that qcli raises for people, and the exit code that each becomes.

QcliError                     1  anything that is said in one sentence and without a traceback
 +-- RunError                 1  a run failed: NaN loss, full disk, locked or damaged run directory
 +-- UsageError               2  the command line asks for something that cannot be
 |    +-- RecipeError         2  one or more faults in recipes, all of them, each with its place
 |    +-- PlanError           2  the recipe does not fit the network: named by layer
 |    +-- DataError           2  data files are missing or damaged: named by file
 |    +-- TraceError          2  the calls of a network cannot be followed
 |    +-- ExportError          2  a network or a form of it holds no such integers: by layer
 +-- ArtifactError            1  an exported file is damaged, or newer than this qcli
 +-- MissingTool              1  a program or package that is needed is not installed
 +-- PluginError              3  a plugin is missing or broken: named by distribution
 +-- TargetError              4  a verification or a target was not met
 +-- Interrupted        130/143  stopped by a signal, the checkpoint is saved
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class QcliError(Exception):
    """A fault that is told to the user as a message, never as a traceback."""

    exit_code = 1


class RunError(QcliError):
    """A run could not go on."""


class UsageError(QcliError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class RecipeError(UsageError):
    """Every fault found in one or more recipes.

    Args:
        faults: One line each: where, what was found, what is allowed, what to type.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(faults))


class PlanError(UsageError):
    """A recipe does not fit the network.

    Args:
        faults: One line each, naming the layer.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(faults))


class TraceError(UsageError):
    """The calls of a network cannot be followed."""


class ExportError(UsageError):
    """A network does not lower to integers, or a form cannot hold it.

    Args:
        faults: One line each, naming the layer.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(faults))


class ArtifactError(QcliError):
    """An exported file is damaged, or newer than this qcli."""


class MissingTool(QcliError):
    """A program or package that is needed is not installed."""


class DataError(UsageError):
    """Data files are missing or damaged."""


class PluginError(QcliError):
    """A plugin is missing or broken."""

    exit_code = 3


class TargetError(QcliError):
    """A verification or a published number was not met."""

    exit_code = 4


class Interrupted(QcliError):
    """A signal stopped the run after its checkpoint was saved.

    Args:
        message: What was saved and how to go on.
        signal_number: 2 for SIGINT, 15 for SIGTERM; the exit code is 128 more.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ' (did you mean "x"?)' for the known name nearest to `name`, or ''."""
    names = list(known)
    longer = [each for each in names if name and each.startswith(name)]
    near = longer if len(longer) == 1 else difflib.get_close_matches(name, names, n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""
