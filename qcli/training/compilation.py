"""Whether training is compiled, where the recipe leaves it to a measurement."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from qcli.training.rehearsal import Rehearsal

# Compiling takes 10 s or more and makes a step a quarter faster at best: a shorter run cannot gain.
SHORTEST_RUN_SECONDS = 60.0

Note = Callable[[str], None]
Compile = Callable[[nn.Module], Any]


@dataclass(frozen=True)
class Measurement:
    """What the steps of a rehearsal took.

    Args:
        eager_seconds: Of one step.
        compiled_seconds: Of one step, once compiled.
        compile_seconds: Of compiling, infinite where it fails.
        fault: Why compiling fails here; empty where it does not, or fails in another process.
    """

    eager_seconds: float
    compiled_seconds: float
    compile_seconds: float
    fault: str = ""


def choose(
    eager_seconds: float, compiled_seconds: float, compile_seconds: float, remaining_steps: int
) -> bool:
    """Say whether compiling pays: what the remaining steps save is more than what it takes."""
    return (eager_seconds - compiled_seconds) * remaining_steps > compile_seconds


def compile_network(network: nn.Module) -> Any:
    """Return the compiled forward of a network.

    Each shape is compiled for itself. torch would make the last batch, which is smaller, compile a
    graph for all sizes and use that from then on: a run that goes on would compute otherwise.
    """
    return torch.compile(network, dynamic=False)


def choose_compilation(
    rehearsal: Rehearsal, note: Note, compile: Compile = compile_network
) -> bool:
    """Decide by measurement whether to compile, alike in every process, and say why.

    A network that is compiled here need not be compiled again: torch keeps the code of the copy.

    Args:
        rehearsal: Of the run.
        note: Hears what was measured and chosen.
        compile: Returns the compiled forward of a network.
    """
    steps = rehearsal.workload.total_steps
    rehearsal.step(rehearsal.network)
    (eager,) = rehearsal.slowest(rehearsal.step(rehearsal.network))
    if eager * steps < SHORTEST_RUN_SECONDS:
        note(f"compile auto: no; {steps} steps take {eager * steps:.3g} s, too short to gain by it")
        return False
    found = _measure(rehearsal, compile, eager)
    chosen = choose(
        found.eager_seconds, found.compiled_seconds, found.compile_seconds, remaining_steps=steps
    )
    note(f"compile auto: {'yes' if chosen else 'no'}; {_describe(found, steps)}")
    if not chosen:
        torch.compiler.reset()
    return chosen


def _measure(rehearsal: Rehearsal, compile: Compile, eager_seconds: float) -> Measurement:
    fault, seconds = "", math.inf
    try:
        with _silent_logs():
            compiled = compile(rehearsal.network)
            seconds = rehearsal.step(compiled)
    except Exception as error:
        # The same step has just worked uncompiled: this is the compiler's, whatever it raises.
        fault = " ".join(str(error).split())[:200] or type(error).__name__
    (compile_seconds,) = rehearsal.slowest(seconds)
    if math.isinf(compile_seconds):
        return Measurement(eager_seconds, math.inf, math.inf, fault or "another process failed")
    medians = rehearsal.compare(
        {
            "eager": lambda: rehearsal.step(rehearsal.network),
            "compiled": lambda: rehearsal.step(compiled),
        },
        round_seconds=2 * eager_seconds,
    )
    return Measurement(medians["eager"], medians["compiled"], compile_seconds)


@contextmanager
def _silent_logs() -> Iterator[None]:
    """Keep back the tracebacks that the compiler logs beside the error that it raises."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _describe(found: Measurement, steps: int) -> str:
    if math.isinf(found.compile_seconds):
        return f"torch.compile does not work here: {found.fault}"
    eager, compiled = 1e3 * found.eager_seconds, 1e3 * found.compiled_seconds
    saved = (found.eager_seconds - found.compiled_seconds) * steps
    return (
        f"a step takes {eager:.3g} ms as it is and {compiled:.3g} ms compiled, which saves "
        f"{saved:.3g} s in {steps} steps; compiling takes {found.compile_seconds:.3g} s"
    )
