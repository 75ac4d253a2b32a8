"""Run checks, each in a process of its own: one that crashes or hangs is a finding."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from qcli.catalog.catalog import Catalog
from qcli.catalog.entries import HealthFinding
from qcli.doctor.checks import CHECKS
from qcli.doctor.outcome import Outcome
from qcli.errors import UsageError, suggest

# -P: a file in the folder where qcli is called must not stand in for a module of Python's.
PROBE = (sys.executable, "-P", "-m", "qcli.doctor.probe")


@dataclass(frozen=True)
class Check:
    """A check and who offers it."""

    name: str
    summary: str
    distribution: str


@dataclass(frozen=True)
class Circumstances:
    """What all checks are told.

    Args:
        plugins: Modules given with --plugin.
        data_root: The path given with -p.
        full: Whether to read everything.
        timeout: Seconds that a check may take.
    """

    plugins: tuple[str, ...] = ()
    data_root: Path | None = None
    full: bool = False
    timeout: float = 60


def list_checks(catalog: Catalog, wanted: Sequence[str] = ()) -> list[Check]:
    """Return qcli's own checks, then those of plugins.

    Args:
        catalog: Where plugins are found.
        wanted: Names; all where there are none.

    Raises:
        UsageError: There is no such check.
    """
    offers = sorted(catalog.health_checks, key=lambda each: (each.entry.name, each.distribution))
    checks = [
        *(Check(each.name, each.summary, "qcli") for each in CHECKS),
        *(Check(each.entry.name, each.entry.summary, each.distribution) for each in offers),
    ]
    names = [each.name for each in checks]
    for name in wanted:
        if name not in names:
            allowed = ", ".join(dict.fromkeys(names))
            raise UsageError(f'no check "{name}"{suggest(name, names)}; checks: {allowed}')
    return [each for each in checks if not wanted or each.name in wanted]


@dataclass
class Runner:
    """Runs checks side by side.

    Args:
        circumstances: What all of them are told.
    """

    circumstances: Circumstances
    _running: set[subprocess.Popen[str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, checks: Sequence[Check], at_once: int) -> list[Outcome]:
        """Run checks; return what came of each, in their order."""
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            try:
                return list(pool.map(self._run, checks))
            except BaseException:
                # Ctrl-C: what has not begun does not begin, and what runs ends.
                pool.shutdown(wait=False, cancel_futures=True)
                with self._lock:
                    for process in self._running:
                        _kill(process)
                raise

    def _run(self, check: Check) -> Outcome:
        begun = time.monotonic()
        made = partial(Outcome, check.name, check.distribution)
        told = self.circumstances
        task = {
            "check": check.name,
            "distribution": check.distribution,
            "plugins": list(told.plugins),
            "data_root": str(told.data_root) if told.data_root else None,
            "full": told.full,
        }
        process = self._start()
        try:
            output, errors = process.communicate(json.dumps(task), timeout=told.timeout)
        except subprocess.TimeoutExpired:
            _kill(process)
            _, errors = process.communicate()
            return made(told.timeout, (_hung(check, told.timeout),), errors)
        finally:
            with self._lock:
                self._running.discard(process)
        seconds = time.monotonic() - begun
        findings = _read(output) if process.returncode == 0 else ()
        if findings:
            return made(seconds, findings)
        return made(seconds, (_broke(check, process.returncode, errors),), errors)

    def _start(self) -> subprocess.Popen[str]:
        with self._lock:
            process = subprocess.Popen(
                PROBE,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="backslashreplace",
                start_new_session=True,
            )
            self._running.add(process)
        return process


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process with all that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _read(output: str) -> tuple[HealthFinding, ...]:
    try:
        return tuple(HealthFinding(**each) for each in json.loads(output))
    except (ValueError, TypeError):
        return ()


def _hung(check: Check, timeout: float) -> HealthFinding:
    return HealthFinding(
        "error",
        f"the check took longer than {timeout:g} s and was ended",
        f"qcli doctor {shlex.quote(check.name)} --timeout {2 * timeout:g}",
    )


def _broke(check: Check, code: int, errors: str) -> HealthFinding:
    lines = [line for line in errors.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "it found nothing"
    how = f"was ended by {_signal_name(-code)}" if code < 0 else f"broke: {last[:300]}"
    return HealthFinding(
        "error",
        f"the check {how}",
        f"qcli doctor {shlex.quote(check.name)} --debug",
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def with_trace(outcome: Outcome) -> Outcome:
    """Return an outcome whose findings also tell what the check wrote to stderr."""
    if not outcome.trace:
        return outcome
    findings = [replace(each, text=f"{each.text}\n{outcome.trace}") for each in outcome.findings]
    return replace(outcome, findings=tuple(findings))
