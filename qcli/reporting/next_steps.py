"""What to type next after each verb: exact commands, said to people at a terminal alone.

Each function returns the commands; `say_next` prints them to stderr. Scripts, pipes and --json
see nothing of it.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qcli.reporting.console import make_console, say

if TYPE_CHECKING:
    from qcli.recipe.setting import Request

INTEGER = "-integer"
DEMO = (
    "qcli train --quant-json lsq-w4a4",
    "qcli plan -a resnet20 --quant-json search-2b",
    "qcli list",
    "qcli train -a resnet20 -d cifar10 -p DATA --train-json resnet20-cifar10-200ep "
    "--quant-json search-2b",
)


def say_next(commands: Sequence[str]) -> None:
    """Print commands to stderr, if somebody sits there."""
    if commands and make_console().is_terminal:
        say("\n".join(["", f"next: {commands[0]}", *(f"      {each}" for each in commands[1:])]))


def _join(*words: str | Path) -> str:
    return shlex.join(["qcli", *map(str, words)])


def after_training(run: Path, recipe: str | None, plugins: Sequence[str]) -> list[str]:
    """Return what follows a run.

    Args:
        run: Its directory.
        recipe: The quantization recipe's name; None: float.
        plugins: Those of the command line.
    """
    steps = [_join("eval", run), _join("report", run)]
    if recipe is None:
        return steps
    if recipe.endswith(INTEGER):
        return [*steps, _join("verify", run)]
    files = ("--train-json", run / "training.json", "--quant-json", run / "quantization.json")
    given = [word for plugin in plugins for word in ("--plugin", plugin)]
    return [*steps, _join("plan", "--target", "integer", *files, *given)]


def after_evaluation(run: Path, *, by_class: bool) -> list[str]:
    """Return what follows a measurement."""
    return [_join("report", run)] if by_class else [_join("eval", run, "--by-class")]


def after_plan(request: Request, plugins: Sequence[str], recipes: Sequence[str]) -> list[str]:
    """Return what follows a plan.

    Args:
        request: What was planned.
        plugins: Those of the command line.
        recipes: Shipped training recipes for the network and the data set.
    """
    if request.train_json is None and not recipes:
        return [_join("list", "recipes")]
    words = ["--train-json", request.train_json or recipes[0]]
    for flag, value in (
        *(("-a", request.architecture), ("-d", request.dataset)),
        *(("--quant-json", request.quant_json), ("--first-layer", request.first_layer)),
        ("--last-layer", request.last_layer),
        *(("--set", override) for override in request.overrides),
        *(("--plugin", plugin) for plugin in plugins),
    ):
        words += [flag, value] if value else []
    return [_join("train", "--smoke", *words)]


def after_check(file: str, kind: str) -> list[str]:
    """Return what follows a file without faults."""
    if kind in ("training", "quantization"):
        return [_join("recipe", "show", file, "--resolved")]
    return []


def after_export(
    form: str, path: Path, run: Path, weights: str, *, is_run_here: bool, is_exact: bool
) -> list[str]:
    """Return what follows an exported file or folder."""
    steps = []
    if is_run_here and is_exact:
        chosen = () if weights == "best" else ("--weights", weights)
        steps.append(_join("verify", run, *chosen, "--artifact", f"{form}={path}"))
    if form == "packed":
        steps.append(_join("infer", path, "IMAGE.png"))
    if form == "c99":
        steps.append(f"cc -O2 -o classify {shlex.quote(str(path))}/*.c")
    return steps


def after_proof(run: Path, weights: str) -> list[str]:
    """Return what follows a proof that held."""
    chosen = () if weights == "best" else ("--weights", weights)
    return [_join("export", run, "--format", form, *chosen) for form in ("packed", "c99")]


def after_listing(live: Sequence[Path], stopped: Sequence[Path]) -> list[str]:
    """Return what follows a list of runs.

    Args:
        live: Those under way.
        stopped: Those that can go on.
    """
    if live:
        return [_join("runs", "watch", live[0])]
    return [_join("train", "--resume", stopped[0])] if stopped else []


def after_campaign(folder: Path) -> list[str]:
    """Return what follows rows of tables."""
    return [_join("runs", folder)]


def after_comparison(runs: Sequence[Path]) -> list[str]:
    """Return what follows runs side by side."""
    return [_join("diff", *runs[:2])] if len(runs) > 1 else []


def after_packing(dataset: str, target: Path) -> list[str]:
    """Return what follows a pack."""
    return [_join("data", "check", dataset, "-p", target)]


def after_report(page: Path) -> list[str]:
    """Return what shows a page."""
    page = page.absolute()
    return [shlex.join([Path(sys.executable).name, "-m", "webbrowser", page.as_uri()])]


def after_recipe(kind: str, path: Path) -> list[str]:
    """Return what follows a recipe that was written."""
    use = {
        "quantization": ("plan", "-a", "lenet5", "-d", "digits", "--quant-json", path),
        "training": ("train", "--train-json", path, "--smoke"),
    }
    return [_join("check", path), _join(*use[kind])]


def after_plugin(name: str, folder: Path) -> list[str]:
    """Return what follows a package that was written."""
    place = shlex.quote(str(folder))
    return [
        f"pip install -e {shlex.quote(f'{folder}[test]')}",
        f"pytest {place}",
        _join("show", name),
    ]


def after_doctor() -> list[str]:
    """Return what follows a healthy machine."""
    return [_join("train", "--smoke")]
