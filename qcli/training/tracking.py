"""Tell programs that draw curves how a run goes: TensorBoard, wandb and what else accelerate knows.

They hear only what metrics.jsonl holds, so that a run that goes on can tell its whole course again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import LoggerType

from qcli.errors import MissingTool, UsageError
from qcli.recipe.setting import Setting
from qcli.training.random_states import restore_random_states, take_random_states

PROJECT = "qcli"
# In the run directory: where those write that write files.
FOLDER = "trackers"
TENSORBOARD = "tensorboard"
# Of a quantizer's health: they never change.
FIXED = ("levels", "count")


def require_trackers(names: Iterable[str]) -> None:
    """Refuse trackers that cannot be told anything, before any work.

    Raises:
        UsageError: accelerate knows no such tracker.
        MissingTool: Its package is not installed.
    """
    installed = {str(each) for each in get_available_trackers()}
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
            raise UsageError(f'--tracker: found "{name}", allowed: {known}')
        if name in LoggerType.list() and name not in installed:
            package = "'qcli[tensorboard]'" if name == TENSORBOARD else name
            raise MissingTool(f"{name} is not installed: pip install {package}")


class Tracking:
    """Passes each epoch on, and never lets a tracker end or change a run.

    One that fails is told of and left alone. As a context it ends with all trackers closed.

    Args:
        note: Hears what fails.
        device: Of the run; what trackers draw at random there is undone.
    """

    def __init__(self, note: Callable[[str], None], device: torch.device) -> None:
        self.note = note
        self.device = device
        self.trackers: dict[str, Any] = {}

    def start(
        self, names: Iterable[str], run: Path, setting: Setting, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Open trackers and tell them the recipes and the epochs so far.

        Args:
            names: Of trackers that `require_trackers` let pass.
            run: The run directory.
            setting: What is trained.
            rows: Of metrics.jsonl.
        """
        for name in dict.fromkeys(names):
            self.trackers[name] = None
            with self._alone(name):
                folder = run / FOLDER / PROJECT
                goes_on = name == TENSORBOARD and folder.exists()
                tracker = self.trackers[name] = _make(name, run, goes_on)
                tracker.start()
                if not goes_on:
                    tracker.store_init_configuration(list_settings(setting))
        for row in rows:
            self.tell(row)

    def tell(self, row: Mapping[str, Any]) -> None:
        """Pass on an epoch."""
        for name in list(self.trackers):
            with self._alone(name):
                self.trackers[name].log(list_scalars(row), step=row["epoch"])

    def __enter__(self) -> Tracking:
        """Return the tracking."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all trackers."""
        for name in list(self.trackers):
            with self._alone(name):
                self.trackers.pop(name).finish()

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Keep what a tracker draws and raises from the run."""
        states = take_random_states(self.device)
        try:
            yield
        except Exception as error:
            self.trackers.pop(name, None)
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            self.note(f"tracker {name} failed and hears no more of this run: {reason}")
        finally:
            restore_random_states(states, self.device)


def _make(name: str, run: Path, goes_on: bool) -> Any:
    tracker = LOGGER_TYPE_TO_CLASS[name]
    options: dict[str, Any] = {}
    if name == "wandb":
        options = {"dir": str(run), "name": run.name}
    if goes_on:
        # What the files hold counts no longer: all of it is told again.
        options = {"purge_step": 0}
    if tracker.requires_logging_directory:
        return tracker(PROJECT, str(run / FOLDER), **options)
    return tracker(PROJECT, **options)


def list_scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of an epoch, named as trackers group them: train/loss, flips/conv1.weight.

    Args:
        row: Of metrics.jsonl.
    """
    plain = {name: row[name] for name in row if isinstance(row[name], int | float)}
    plain.pop("epoch")
    scalars = {}
    for name, value in plain.items():
        part, _, rest = name.partition("_")
        scalars[f"{part}/{rest}" if part in ("train", "val") else name] = float(value)
    for place, numbers in row.get("health", {}).items():
        scalars |= {
            f"{name}/{place}": float(value) for name, value in numbers.items() if name not in FIXED
        }
    return scalars


def list_settings(setting: Setting) -> dict[str, str | int | float | bool]:
    """Return the fields of the recipes by their paths, such as training/lr/start; lists as JSON."""
    documents: dict[str, Any] = {"architecture": setting.architecture_name}
    for kind, recipe in (("training", setting.training), ("quantization", setting.quantization)):
        if recipe is not None:
            documents[kind] = dict(recipe.document)
    return dict(_flatten("", documents))


def _flatten(path: str, value: Any) -> Iterator[tuple[str, str | int | float | bool]]:
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from _flatten(f"{path}/{name}" if path else str(name), part)
    elif isinstance(value, str | int | float | bool):
        yield path, value
    elif value is not None:
        yield path, json.dumps(value)
