"""Python, and every package that qcli needs, by what their metadata say: nothing is imported."""

from __future__ import annotations

import platform
import re
import shlex
import sys
from collections.abc import Iterator
from importlib import metadata

from qcli.catalog.entries import HealthFinding, HealthRequest

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\(?>=\s*([0-9.]+)\)?)?\s*$")


def check_packages(request: HealthRequest) -> Iterator[HealthFinding]:
    """Compare what is installed with what qcli asks for."""
    found = list(_find_faults("qcli"))
    yield from found
    if not found:
        bits = 64 if sys.maxsize > 2**32 else 32
        version = f"Python {platform.python_version()}, {bits} bits, {platform.system()}"
        yield HealthFinding("ok", f"{version}; qcli {metadata.version('qcli')} has what it needs")


def _find_faults(package: str) -> Iterator[HealthFinding]:
    for requirement in metadata.requires(package) or []:
        text, marker, _ = requirement.partition(";")
        match = _REQUIREMENT.match(text.strip())
        # What an extra needs, or only some machines, is told by who uses it.
        if marker or not match:
            continue
        name, least = match.groups()
        remedy = f"pip install --upgrade {shlex.quote(text.strip())}"
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield HealthFinding("error", f"{name} is not installed", remedy)
            continue
        if least and numbers(version) < numbers(least):
            told = f"{name} is {version}; {package} needs {least} or newer"
            yield HealthFinding("error", told, remedy)


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: (2, 14, 1) of "2.14.1+cpu"."""
    leading = re.match(r"\d+(?:\.\d+)*", version)
    parts = [int(part) for part in leading[0].split(".")] if leading else []
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def installed(package: str) -> str | None:
    """Return the version of a package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
