"""One run of a campaign: where it lies, how it is started or gone on with, and what it came to."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from qcli.catalog.catalog import Catalog
from qcli.errors import RunError, UsageError
from qcli.recipe.experiment import Row
from qcli.recipe.quantization import QuantizationRecipe
from qcli.recipe.setting import Setting, resolve_setting
from qcli.recipe.training import TrainingRecipe
from qcli.training.false_start import is_false_start
from qcli.training.revival import read_setting
from qcli.training.run_directory import RunDirectory


@dataclass(frozen=True)
class Campaign:
    """What all jobs share.

    Args:
        folder: Where the run directories lie, as ID/seedN.
        seeds: Each row is trained once with each.
        epochs_scale: What schedules are stretched by; None: full length.
        options: Words of `qcli train` that do not change what a run is: -p, --cpu, --threads.
    """

    folder: Path
    seeds: tuple[int, ...] = (0,)
    epochs_scale: float | None = None
    options: tuple[str, ...] = ()

    def job(self, row: Row, seed: int) -> Job:
        """Return the job of a row."""
        return Job(row, seed, self)

    def jobs(self, rows: Iterable[Row]) -> list[Job]:
        """Return the jobs of all rows, all seeds of a row together."""
        return [self.job(row, seed) for row in rows for seed in self.seeds]


@dataclass(frozen=True, eq=False)
class Job:
    """One run: a row of a table with a seed."""

    row: Row
    seed: int
    campaign: Campaign

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.row.id}, seed {self.seed}" if len(self.campaign.seeds) > 1 else self.row.id

    @property
    def path(self) -> Path:
        """Its run directory."""
        return self._path_of(self.row.id)

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.path.with_suffix(".log")

    def _path_of(self, row_id: str) -> Path:
        scale = self.campaign.epochs_scale
        length = f"-epochs-x{scale:g}" if scale is not None and scale != 1 else ""
        return self.campaign.folder / f"{row_id}{length}" / f"seed{self.seed}"

    def setting(self, catalog: Catalog) -> Setting:
        """Resolve what it trains."""
        return resolve_setting(self.row.request(self.seed, self.campaign.epochs_scale), catalog)

    def command(self) -> list[str]:
        """Return the command that starts it, or that goes on with it."""
        program = [sys.executable, "-m", "qcli", "train"]
        if self.is_begun():
            return [*program, "--resume", str(self.path), *self.campaign.options]
        return [*program, *self.arguments(), *self.campaign.options, "-o", str(self.path)]

    def arguments(self) -> list[str]:
        """Return the words after `qcli train` that say what is trained."""
        words = [*self.row.arguments(), "--seed", str(self.seed)]
        if self.campaign.epochs_scale is not None:
            words += ["--epochs-scale", f"{self.campaign.epochs_scale:g}"]
        for flag, parent in (("--init-from", self.row.init_from), ("--teacher", self.row.teacher)):
            words += [flag, str(self._path_of(parent))] if parent else []
        return words

    def result(self) -> dict[str, Any] | None:
        """Return its result.json; None while it is not finished.

        Raises:
            RunError: It is damaged.
        """
        if not (self.path / "result.json").exists():
            return None
        return RunDirectory(self.path).result()

    def images_trained(self) -> int:
        """Return how many images its whole epochs so far have trained on; 0 of a damaged run."""
        try:
            rows = RunDirectory(self.path).rows()
        except RunError:
            return 0
        return sum(round(row["images_per_second"] * row["train_seconds"]) for row in rows)

    def is_busy(self) -> bool:
        """Say whether another process trains it, such as one that outlived its parent."""
        if not (self.path / ".lock").exists():
            return False
        try:
            with FileLock(self.path / ".lock", timeout=0):
                return False
        except Timeout:
            return True

    def is_begun(self) -> bool:
        """Say whether there is something to go on with: else it is started, perhaps again."""
        return (self.path / "run.json").exists() and not is_false_start(self.path)

    def require_same(self, setting: Setting, catalog: Catalog) -> None:
        """Refuse a run directory that holds another run than this one.

        Raises:
            UsageError: Its recipes or parents are others, or a parent was trained again since.
        """
        if not (self.path / "run.json").exists():
            return
        there = read_setting(self.path, catalog)
        for kind in ("training", "quantization"):
            before, now = (_document(getattr(each, kind)) for each in (there, setting))
            if before != now:
                raise self._refuse(f"with another {kind} recipe ({_differing(before, now)})")
        record = RunDirectory(self.path).record()
        for key, parent in (("init_from", self.row.init_from), ("teacher", self.row.teacher)):
            before, path = record.get(key), self._path_of(parent) if parent else None
            if bool(before) != bool(path) or (before and path and not _is_in(before, path)):
                raise self._refuse(f"with another {key}: {before}")
            ended = _ended(path) if path else None
            if ended and ended > record["started"]:
                raise self._refuse(f"from before {parent} was trained again")

    def _refuse(self, what: str) -> UsageError:
        return UsageError(
            f"{self.path} holds a run {what}; give another folder with -o, or delete it"
        )


def _is_in(path: str, run: Path) -> bool:
    """Say whether a recorded path is a run directory, or a file in it."""
    return run.resolve() in (Path(path), *Path(path).parents)


def _ended(run: Path) -> str | None:
    """Return when a run ended, as run.json has it; None while it has not."""
    file = run / "run.json"
    return RunDirectory(run).record().get("ended") if file.exists() else None


def _document(recipe: TrainingRecipe | QuantizationRecipe | None) -> dict[str, Any] | None:
    return dict(recipe.document) if recipe else None


def _differing(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> str:
    if before is None or now is None:
        return "float" if before is None else "quantized"
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return ", ".join(keys)
