"""Options that several verbs share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from qcli.recipe.library import shipped_recipes
from qcli.recipe.setting import Request

F = TypeVar("F", bound=Callable[..., Any])


def layer_choice(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Check what --first-layer and --last-layer are given."""
    if value is None or value in ("float", "default") or (value.isascii() and value.isdecimal()):
        return value
    raise click.BadParameter(f'found "{value}", allowed: float, default, or a number of bits')


def debug_option(function: F) -> F:
    """Add --debug."""
    return click.option(
        "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
    )(function)


def _require_files(
    ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """Refuse a file that is not there: it would be missed only by what names its entries."""
    for module in value:
        if module.endswith(".py") and not Path(module).is_file():
            raise click.BadParameter(f"found {module}, which is no file")
    return value


def plugin_options(function: F) -> F:
    """Add --plugin and --debug."""
    function = debug_option(function)
    return click.option(
        "--plugin",
        "plugins",
        multiple=True,
        metavar="MODULE",
        callback=_require_files,
        help="Load a module or .py file of your own as a plugin; may be repeated.",
    )(function)


def json_option(function: F) -> F:
    """Add --json."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON to stdout, with a schema_version."
    )(function)


_RECIPE_OPTIONS = (
    click.option("-a", "--arch", "architecture", metavar="ARCH", help="The network."),
    click.option("-d", "--dataset", metavar="DATASET", help="The data set."),
    click.option(
        "--train-json",
        "--training-json",
        "train_json",
        metavar="RECIPE",
        help="Training recipe: a shipped one's name, or a path.",
    ),
    click.option(
        "--quant-json",
        metavar="RECIPE",
        help="Quantization recipe: a shipped one's name, or a path. Without one all is float.",
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change one field of a recipe, as in --set lr=0.01; may be repeated.",
    ),
    click.option(
        "--first-layer",
        callback=layer_choice,
        metavar="float|default|BITS",
        help="What the first layer gets.",
    ),
    click.option(
        "--last-layer",
        callback=layer_choice,
        metavar="float|default|BITS",
        help="What the last layer gets.",
    ),
    click.option("--quantize-first-layer", is_flag=True, help="The same as --first-layer default."),
    click.option("--quantize-last-layer", is_flag=True, help="The same as --last-layer default."),
    click.option(
        "-q",
        "--quantize-network",
        is_flag=True,
        help="Insist on a quantization recipe, which quantizes by itself.",
    ),
)


_DATA = click.option("-p", "--data-dir", type=Path, metavar="DIR", help="Where data sets lie.")
_WEIGHTS = click.option(
    "--weights",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="Which epoch's weights.",
)
_MEASURING_OPTIONS = (
    _DATA,
    _WEIGHTS,
    click.option("--cpu", is_flag=True, help="Leave GPUs alone."),
    click.option(
        "--threads", type=click.IntRange(1, 1024), help="CPU threads; default: torch's choice."
    ),
)


def weights_options(function: F) -> F:
    """Add --weights and --data-dir."""
    return add_options(function, (_WEIGHTS, _DATA))


def measuring_options(function: F) -> F:
    """Add --data-dir, --weights, --cpu and --threads, of verbs that measure a run's network."""
    return add_options(function, _MEASURING_OPTIONS)


def recipe_options(function: F) -> F:
    """Add the options that name recipes and change them."""
    return add_options(function, _RECIPE_OPTIONS)


def add_options(function: F, options: Sequence[Callable[[F], F]]) -> F:
    """Add options to a command, in this order."""
    for option in reversed(options):
        function = option(function)
    return function


def recipes_for(*wanted: str | None) -> list[str]:
    """Return the shipped training recipes whose names hold some words, such as a network's."""
    words = [each for each in wanted if each]
    return [name for name in shipped_recipes("training") if all(each in name for each in words)]


def is_main_process() -> bool:
    """Say whether this is the process that prints: the only one, or the launcher's first."""
    return os.environ.get("RANK", "0") == "0"


def make_request(options: dict[str, Any]) -> Request:
    """Take the recipe options out of a verb's keyword arguments.

    Raises:
        UsageError: Options contradict each other.
    """
    if options.pop("quantize_network") and not options.get("quant_json"):
        raise click.UsageError("-q needs --quant-json: what to quantize with")
    for end in ("first", "last"):
        if options.pop(f"quantize_{end}_layer"):
            if options[f"{end}_layer"] not in (None, "default"):
                raise click.UsageError(f"--quantize-{end}-layer contradicts --{end}-layer")
            options[f"{end}_layer"] = "default"
    names = Request.__dataclass_fields__
    return Request(**{name: options.pop(name) for name in list(options) if name in names})
