"""Run cases one after another; each leaves threads and memory as it found them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from qcli.benchmark.case import Case, Scope
from qcli.benchmark.protocol import Pace, read_once, take_turns
from qcli.benchmark.requirement import missing
from qcli.benchmark.result import Row, compare, figures, judge


@dataclass(frozen=True)
class Conditions:
    """Under what a case is measured.

    Args:
        data_root: Where data sets lie; None: random images.
        pace: How long.
        busy: Whether other work on the machine forbids a verdict.
    """

    data_root: Path | None = None
    pace: Pace = field(default_factory=Pace)
    busy: bool = False


def run_case(case: Case, conditions: Conditions) -> list[Row]:
    """Measure a case; a missing need or a failure is a row too, so that other cases go on."""
    need = missing(case)
    if need is not None:
        return [Row(case, each, None, f"needs {need}") for each in case.comparisons]
    try:
        with _contained(case), TemporaryDirectory(prefix="qcli-bench-") as folder:
            return _measure(case, conditions, Path(folder))
    except Exception as error:
        return [Row(case, each, None, "failed", error=error) for each in case.comparisons]


def _measure(case: Case, conditions: Conditions, folder: Path) -> list[Row]:
    arms = case.arms(Scope(folder, conditions.data_root))
    if case.is_timed:
        readings = take_turns(arms, conditions.pace)
    else:
        readings = {name: [] for name in arms}
        read_once(arms, readings)
    all_figures = {name: figures(case, arm, readings[name]) for name, arm in arms.items()}
    rows = []
    for each in case.comparisons:
        value = compare(each, arms, readings)
        verdict = judge(value, each.goal, is_timed=case.is_timed, busy=conditions.busy)
        rows.append(Row(case, each, value, verdict, all_figures))
    return rows


@contextmanager
def _contained(case: Case) -> Iterator[None]:
    threads = torch.get_num_threads()
    if case.threads:
        torch.set_num_threads(case.threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if "torch._dynamo" in sys.modules:
            # What was compiled holds its network.
            torch.compiler.reset()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
