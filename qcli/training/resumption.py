"""Go on with a run: only where it is the same, and with everything that it had."""

from __future__ import annotations

from collections.abc import Callable

import torch

from qcli.errors import RunError
from qcli.quantization.plan import Plan
from qcli.quantization.plan_json import plan_to_json
from qcli.training.checkpoint import load_checkpoint, load_codes
from qcli.training.loop import Loop
from qcli.training.position import Position
from qcli.training.record import RunFacts, device_name, installed_versions
from qcli.training.run_directory import RunDirectory
from qcli.training.teacher import require_same_teacher

Note = Callable[[str], None]


def take_up(loop: Loop, facts: RunFacts, note: Note) -> Position:
    """Give a loop the state of its run; return the position from which it goes on.

    Raises:
        RunError: The run was made otherwise, or is damaged.
    """
    _require_same(loop.run, facts.plan, loop.accelerator.num_processes)
    require_same_teacher(loop.run, facts.options.teacher)
    position = load_checkpoint(loop.accelerator, loop.run.path)
    loop.rows = loop.run.rows()[: position.rows]
    if len(loop.rows) < position.rows:
        raise RunError(f"{loop.run.path}/metrics.jsonl is damaged: epochs are missing in it")
    if loop.watch:
        health = [row.get("health", {}) for row in loop.rows]
        loop.watch.go_on(health, load_codes(loop.run.path))
    if position.best is not None:
        loop.run.require("best.safetensors")
    _tell_changes(loop.run, facts, note)
    return position


def _require_same(run: RunDirectory, plan: Plan, num_processes: int) -> None:
    """Refuse to go on with a run that was made otherwise."""
    before = run.read("plan.json")
    now = plan_to_json(plan)
    # The reasons are words: a flag's effect is in the recipe by now.
    strip = [{**row, "because": ""} for row in before.get("layers", ())]
    if strip != [{**row, "because": ""} for row in now["layers"]]:
        raise RunError(
            f"{run.path} was made with another plan: its plan.json, its recipes or the plugins "
            "have changed since"
        )
    processes = run.record()["num_processes"]
    if processes != num_processes:
        raise RunError(
            f"{run.path} was made with {processes} processes, not {num_processes}: "
            "only the same number goes on bit for bit"
        )


def _tell_changes(run: RunDirectory, facts: RunFacts, note: Note) -> None:
    """Say what differs from the machine that began a run: it may round otherwise."""
    record = run.record()
    for name in record.get("trackers", ()):
        if name not in facts.options.trackers:
            note(f"tracker {name} hears nothing of this run, unless you type --tracker {name}")
    now = {
        "threads": torch.get_num_threads(),
        "device": device_name(facts.learner.accelerator.device),
        **installed_versions(),
    }
    for name, value in now.items():
        before = record["versions"].get(name, record.get(name))
        if before != value:
            note(f"{name} was {before}, is {value}: the run may not go on bit for bit")
