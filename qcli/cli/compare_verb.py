"""`qcli compare`: methods side by side, from finished runs or from a grid that is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from qcli.cli.campaign_options import campaign_options, make_campaign, print_cost, run_campaign
from qcli.cli.drawing_file import PLOTS, require_new_drawing
from qcli.cli.options import plugin_options
from qcli.errors import RunError, UsageError
from qcli.recipe.experiment import Row
from qcli.recipe.flags import read_override

if TYPE_CHECKING:
    from qcli.campaign.job import Job

FOLDER = Path("runs/compare")


@click.command("compare")
@click.argument("runs", nargs=-1, type=Path, metavar="[RUN...]")
@click.option("--grid", is_flag=True, help="Train what is compared, instead of naming runs.")
@click.option("-a", "--arch", "architecture", metavar="ARCH", help="The grid's network.")
@click.option("-d", "--dataset", metavar="DATASET", help="The grid's data set.")
@click.option(
    "--train-json", "training", metavar="RECIPE", help="The training recipe of all the grid."
)
@click.option(
    "--quant-json",
    "quantizations",
    multiple=True,
    metavar="RECIPE",
    help="A quantization recipe of the grid, or float; may be repeated.",
)
@click.option(
    "--bits",
    multiple=True,
    metavar="W/A",
    help="Widths of weights and inputs, which every recipe of the grid gets: 2/32, 4/4; may be "
    "repeated. Without it recipes keep their own.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one field in all the grid; may be repeated.",
)
@click.option("--plot", type=Path, metavar="FILE", help="Plot accuracy against cost in a new file.")
@campaign_options
@plugin_options
def command(
    runs: tuple[Path, ...], grid: bool, plot: Path | None, table_format: str, **options: Any
) -> None:
    """Set methods side by side: accuracy over seeds, weight bytes, bit operations.

    With RUN..., finished run directories. With --grid, every --quant-json at every --bits is
    trained with one training recipe, the same seeds and the same order of images. What differs
    beside the methods is said.
    """
    from qcli.campaign.comparison import find_unfairness, group_runs, read_run
    from qcli.reporting.comparison import print_comparison

    if plot:
        _require_plottable(plot, dry_run=options["dry_run"])
    if grid:
        if runs:
            raise UsageError("--grid trains its own runs; leave out the RUN arguments")
        runs = _train_grid(options)
    else:
        _refuse_grid_options(runs)
    if not runs:
        return
    contenders = group_runs([read_run(path) for path in runs])
    print_comparison(contenders, find_unfairness(contenders), table_format)
    if plot:
        from qcli.reporting.comparison_plot import plot_comparison

        plot_comparison(contenders, plot)
    if table_format != "json":
        from qcli.reporting.next_steps import after_comparison, say_next

        say_next(after_comparison(runs))


def _require_plottable(plot: Path, *, dry_run: bool) -> None:
    """Refuse before hours of training what could not be plotted after them."""
    if dry_run:
        raise UsageError("--plot has nothing to plot with --dry-run; leave one out")
    require_new_drawing("--plot", plot, PLOTS)


def _refuse_grid_options(runs: tuple[Path, ...]) -> None:
    """Refuse options that would have no effect on finished runs."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = str(parameter.name)
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in ("runs", "grid", "plot", "table_format", "debug"):
            raise UsageError(f"{parameter.opts[-1]} is for --grid; it has no effect on RUN...")
    if not runs:
        raise UsageError("name two or more run directories, or train them: --grid")


def _train_grid(options: dict[str, Any]) -> tuple[Path, ...]:
    """Train the grid, and return its run directories; none where only the cost is asked for.

    Raises:
        UsageError: What makes a grid is missing.
        RunError: A run failed.
    """
    from qcli.campaign.grid import make_grid

    for name, flag in (("architecture", "-a"), ("training", "--train-json")):
        if not options[name]:
            raise UsageError(f"--grid needs {flag}")
    if not options["quantizations"]:
        raise UsageError("--grid needs --quant-json, once for each method; float is one too")
    folder = options["work_dir"] or FOLDER
    campaign = make_campaign(folder, options)
    jobs = campaign.jobs(make_grid(_base(options), options["quantizations"], options["bits"]))
    if options["dry_run"]:
        print_cost(jobs, options)
        return ()
    return _run(jobs, folder, options)


def _run(jobs: Sequence[Job], folder: Path, options: dict[str, Any]) -> tuple[Path, ...]:
    failures = run_campaign(jobs, folder, options)
    if failures:
        raise RunError(f"{failures} runs failed; the same command tries them again")
    return tuple(job.path for job in jobs)


def _base(options: dict[str, Any]) -> Row:
    """Return what all rows of the grid share."""
    names = [options["architecture"], options["dataset"], Path(options["training"]).stem]
    return Row(
        id="-".join(name.replace(":", "_").replace("/", "_") for name in names if name),
        architecture=options["architecture"],
        dataset=options["dataset"],
        training=options["training"],
        set=dict(read_override(text) for text in options["overrides"]),
    )
