"""What a run writes about itself: run.json, the effective recipes, the plan, log.txt."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch

from qcli.catalog.load import load_catalog
from qcli.errors import Interrupted, RunError
from qcli.quantization.plan import Plan
from qcli.quantization.plan_json import plan_to_json
from qcli.recipe.setting import Setting
from qcli.training.heartbeat import end as end_heartbeat
from qcli.training.learner import Learner
from qcli.training.owner import Owner
from qcli.training.run_directory import SCHEMA_VERSION, RunDirectory
from qcli.training.teacher import teacher_hash


@dataclass(frozen=True)
class SessionOptions:
    """What a run needs beside its setting.

    Args:
        data_root: Where data sets lie.
        init_from: A run or weights file to start from.
        teacher: A run, or weights in one, to learn from.
        work_dir: The run directory; None: a new one under runs/.
        cpu: Whether to leave GPUs alone.
        threads: Threads of the CPU; "auto": measured; None: torch's choice.
        plugins: Modules given with --plugin.
        argv: The command line.
        resume: The run directory to go on with; None: a new run.
        patience: Minutes that processes wait for one another; None: the default.
        trackers: Programs that are told of each epoch, by accelerate's names.
    """

    data_root: Path | None = None
    init_from: Path | None = None
    teacher: Path | None = None
    work_dir: Path | None = None
    cpu: bool = False
    threads: int | Literal["auto"] | None = None
    plugins: Sequence[str] = ()
    argv: Sequence[str] = ()
    resume: Path | None = None
    patience: float | None = None
    trackers: Sequence[str] = ()


@dataclass(frozen=True)
class RunFacts:
    """What a run is made of.

    Args:
        setting: Its recipes and entries.
        options: What else the command line said.
        plan: Which quantizer each layer has.
        num_classes: Of the data set.
        pixels: How an image becomes the network's input, as `describe_pixels` says it.
        learner: What trains it.
    """

    setting: Setting
    options: SessionOptions
    plan: Plan
    num_classes: int
    pixels: Mapping[str, Any]
    learner: Learner


@dataclass
class RunRecord:
    """Keeps run.json and log.txt, in the main process alone."""

    run: RunDirectory
    is_main: bool
    begun: bool = False

    def begin(self, facts: RunFacts) -> None:
        """Write what the run is made of, before training begins."""
        self.begun = True
        if not self.is_main:
            return
        setting, options, learner = facts.setting, facts.options, facts.learner
        assert setting.training is not None
        self.run.write("training.json", dict(setting.training.document))
        if setting.quantization:
            self.run.write("quantization.json", dict(setting.quantization.document))
        self.run.write("plan.json", plan_to_json(facts.plan))
        self.run.write(
            "run.json",
            {
                "schema_version": SCHEMA_VERSION,
                "status": "running",
                "started": _now(),
                "ended": None,
                "argv": list(options.argv),
                "architecture": setting.architecture_name,
                "dataset": setting.dataset.name if setting.dataset else None,
                "num_classes": facts.num_classes,
                "pixels": facts.pixels,
                "data_root": str(options.data_root.resolve()) if options.data_root else None,
                "recipes_sha256": self.run.recipes_hash(),
                "init_from": str(options.init_from.resolve()) if options.init_from else None,
                "teacher": str(options.teacher.resolve()) if options.teacher else None,
                "teacher_sha256": teacher_hash(options.teacher) if options.teacher else None,
                "plugins": [_absolute(plugin) for plugin in options.plugins],
                "trackers": list(options.trackers),
                "cpu": options.cpu,
                "device": device_name(learner.accelerator.device),
                "threads": torch.get_num_threads(),
                "compiled": learner.recipe.compile is True,
                "num_processes": learner.accelerator.num_processes,
                "process": Owner.this_process().to_json(),
                "versions": installed_versions(),
                "git_commit": _git_commit(),
            },
        )
        self.run.log("started")

    def go_on(self) -> None:
        """Write down that a run goes on."""
        self.begun = True
        if self.is_main:
            process = Owner.this_process().to_json()
            self.run.update("run.json", status="running", ended=None, error=None, process=process)
            self.run.log("resumed")

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result, whose presence means that the run is finished."""
        if self.is_main:
            self.run.update("run.json", status="finished", ended=_now())
            # Before the result: a disk that fills up here leaves nothing of a live run.
            end_heartbeat(self.run.path)
            self.run.write("result.json", result)
            self.run.log("finished")

    def fail(self, error: BaseException) -> None:
        """Write down why the run ended; a disk that is full must not hide the reason.

        A run that could not be gone on with is left as it was.
        """
        if not (self.is_main and self.begun):
            return
        status = "interrupted" if isinstance(error, Interrupted | KeyboardInterrupt) else "failed"
        try:
            self.run.update("run.json", status=status, ended=_now(), error=str(error))
            self.run.log(f"{status}: {error}")
        except (RunError, OSError):
            return


def _absolute(plugin: str) -> str:
    """Make a plugin's file findable from any folder; a module's name stays."""
    return str(Path(plugin).resolve()) if plugin.endswith(".py") else plugin


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def device_name(device: torch.device) -> str:
    """Return the device with the name of what it is."""
    if device.type == "cuda":
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return f"{device}: {platform.machine()}"


def installed_versions() -> dict[str, str]:
    """Return the versions of Python, qcli, what it rests on, and every plugin."""
    names = ("qcli", "torch", "torchvision", "accelerate")
    core = {name: metadata.version(name) for name in names}
    plugins = {record.distribution: record.version for record in load_catalog().plugins}
    return {"python": sys.version.split()[0], **core, **plugins}


def _git_commit() -> str | None:
    """Return the commit of the folder that the command ran in, None outside of git."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
