"""What people see while qcli works; everything but data goes to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

from qcli.reporting.visible import make_visible

if TYPE_CHECKING:
    from qcli.quantization.finding import Finding
    from qcli.quantization.health import Health
    from qcli.quantization.plan import Plan
    from qcli.recipe.setting import Setting
    from qcli.training.evaluation import Metrics

SECONDS_BETWEEN_READINGS = 0.5
SECONDS_BETWEEN_LINES = 10.0


class SafeConsole(Console):
    """Shows what names and files say, and obeys none of it.

    It leaves it to the command line to end well where nobody reads the output any more.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Make text visible before it is measured."""
        return super().render_str(make_visible(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Make visible what came as a `Text`."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=make_visible(segment.text))

    def on_broken_pipe(self) -> None:
        """Raise again what rich would turn into an exit with 1."""
        raise BrokenPipeError


def make_console(*, stderr: bool = True) -> Console:
    """Return a console that wraps nothing: messages are long and are searched for."""
    return SafeConsole(stderr=stderr, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print a message to stderr."""
    make_console().print(text, markup=False)


def print_data(text: str) -> None:
    """Print data to stdout."""
    sys.stdout.write(make_visible(text) + "\n")
    sys.stdout.flush()


def percent(fraction: float) -> str:
    """Return a fraction as a percentage with two decimals."""
    return f"{100 * fraction:.2f} %"


def format_seconds(seconds: float) -> str:
    """Return a time span as people write it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def format_bytes(count: int) -> str:
    """Return a size as people write it."""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.2f} MiB"


class TrainingReport:
    """Tells people how a run goes: a bar on a terminal, one line for each epoch elsewhere.

    Args:
        quiet: Whether to say nothing, as in processes that are not the main one.
        verbose: Whether to say something within epochs where there is no terminal.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose and not quiet
        self.console = make_console()
        self.watched = self.console.is_terminal and not quiet
        self.bar: Progress | None = None
        self.read_at = 0.0
        self.numbers = ""
        self.select_by = "top1"

    def note(self, text: str) -> None:
        """Say something that the user should know."""
        if not self.quiet:
            self.console.print(text, markup=False)

    def begin_run(self, setting: Setting, plan: Plan, path: Path, device: str) -> None:
        """Say what is about to be trained, and where."""
        recipe = setting.training
        assert recipe is not None
        assert setting.dataset is not None
        layers = [row for row in plan.layers if row.weights]
        quantized = sum(row.has_quantized_weight for row in layers)
        recipe_name = setting.quantization.name if setting.quantization else "float"
        self.note(
            f"training {setting.architecture_name} on {setting.dataset.name} with {recipe_name}: "
            f"{quantized} of {len(layers)} layers have quantized weights; "
            f"{recipe.epochs} epochs, {device}"
        )
        self.note(f"run directory: {path}")
        chosen = "the test set, as most published tables do"
        if recipe.select_on == "validation":
            chosen = "held-out training images; the test set is measured once, at the end"
        self.select_by = recipe.select_by
        by = "" if recipe.select_by == "top1" else f" by {recipe.select_by}"
        self.note(f"the best epoch is selected{by} on {chosen}")

    def begin_epoch(self, epoch: int, total_epochs: int, num_steps: int, first_step: int) -> None:
        """Open the epoch's bar."""
        if not self.watched:
            return
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}  {task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.bar.add_task(
            "",
            total=num_steps,
            completed=first_step,
            epoch=f"{epoch + 1}/{total_epochs}",
            numbers="",
        )
        self.bar.start()

    def wants_metrics(self) -> bool:
        """Say now and then, where somebody watches, that numbers are wanted."""
        pause = SECONDS_BETWEEN_READINGS if self.watched else SECONDS_BETWEEN_LINES
        if not (self.watched or self.verbose) or time.monotonic() - self.read_at < pause:
            return False
        self.read_at = time.monotonic()
        return True

    def step(self, step: int, metrics: Metrics | None, images_per_second: float) -> None:
        """Move the bar, or print a line now and then."""
        if metrics:
            self.numbers = f"loss {metrics.loss:.4f}  top-1 {percent(metrics.top1)}"
        numbers = f"{self.numbers}  {images_per_second:,.0f} images/s"
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=step, numbers=numbers)
        elif metrics:
            self.note(f"step {step}  {numbers}")

    def end_epoch(self, row: Mapping[str, Any], is_best: bool) -> None:
        """Print the epoch's line."""
        self.close()
        temperature = row["temperature"]
        annealed = "" if temperature is None else f"  temperature {temperature:.3g}"
        selecting = ""
        if self.select_by not in ("top1", "loss"):
            selecting = f"  {self.select_by} {percent(row[f'val_{self.select_by}'])}"
        self.note(
            f"epoch {row['epoch']:>3}  loss {row['train_loss']:.4f}  "
            f"train {percent(row['train_top1'])}  val {percent(row['val_top1'])}{selecting}"
            f"{'  best' if is_best else '      '}  lr {row['lr']:.3g}{annealed}  "
            f"{row['images_per_second']:,.0f} images/s  "
            f"{format_seconds(row['train_seconds'] + row['val_seconds'])}"
        )

    def warn(self, finding: Finding) -> None:
        """Say what is sick in the network."""
        self.note(f"warning: {finding.text}")

    def end_watch(self, health: Health, findings: Sequence[Finding]) -> None:
        """Print how the quantized layers are after training."""
        from qcli.reporting.health import print_health

        if not self.quiet:
            print_health(health, findings, verbose=self.verbose)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
