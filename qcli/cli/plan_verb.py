"""`qcli plan`: which quantizer every layer gets, and why, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qcli.catalog.catalog import Catalog
from qcli.catalog.load import load_catalog
from qcli.cli.drawing_file import require_new_drawing
from qcli.cli.options import (
    json_option,
    make_request,
    plugin_options,
    recipe_options,
    recipes_for,
)
from qcli.errors import PluginError, UsageError
from qcli.recipe.setting import Request, Setting, resolve_setting

if TYPE_CHECKING:
    from qcli.quantization.plan import Plan


@click.command("plan")
@recipe_options
@click.option(
    "--target",
    type=click.Choice(["integer"]),
    help="Say whether the network can be exported as integers; exit with 2 where it cannot.",
)
@click.option(
    "--graph",
    type=Path,
    metavar="FILE.svg",
    help="Draw the network with the bits of what flows in it; the file must be new.",
)
@json_option
@plugin_options
def command(
    as_json: bool,
    target: str | None,
    graph: Path | None,
    plugins: tuple[str, ...],
    **options: Any,
) -> None:
    """Print the layers of a network with their quantizers, and what they cost.

    Needs no data: without -d the network's own image size and number of classes are used.
    """
    if graph:
        require_new_drawing("--graph", graph, (".svg",))
    catalog = load_catalog(plugins)
    request = make_request(options)
    setting = resolve_setting(request, catalog)
    plan = plan_without_weights(setting, catalog)
    if as_json:
        from qcli.quantization.plan_json import plan_to_json
        from qcli.reporting.console import print_data

        print_data(json.dumps(plan_to_json(plan), indent=2))
    else:
        from qcli.reporting.plan_tree import print_plan

        print_plan(plan)
    if graph:
        _draw(setting, catalog, graph)
    if target:
        _require_integers(setting, catalog)
    if not as_json:
        _say_next(request, setting, plugins)


def _say_next(request: Request, setting: Setting, plugins: tuple[str, ...]) -> None:
    from qcli.reporting.next_steps import after_plan, say_next

    dataset = setting.dataset.name if setting.dataset else None
    say_next(after_plan(request, plugins, recipes_for(request.architecture, dataset)))


def _draw(setting: Setting, catalog: Catalog, path: Path) -> None:
    """Trace the untrained network: what flows in it is no matter of its weights."""
    from qcli.quantization.network_graph import trace_graph
    from qcli.reporting.console import say
    from qcli.reporting.graph_drawing import draw_graph
    from qcli.training.assembly import assemble
    from qcli.training.durable import write_atomically

    model = assemble(setting, catalog, num_classes=None).model
    text = draw_graph(trace_graph(model, setting.image_shape))

    def write(beside: Path) -> None:
        beside.write_text(text, "utf-8")

    try:
        write_atomically(path, write)
    except OSError as error:
        raise UsageError(f"--graph: {path} cannot be written: {error.strerror}") from None
    say(f"graph: {path}")


def _require_integers(setting: Setting, catalog: Catalog) -> None:
    """Lower the untrained network: what stands in the way is no matter of its weights."""
    from qcli.deployment.rehearsal import find_obstacles
    from qcli.errors import ExportError
    from qcli.reporting.console import say

    obstacles = find_obstacles(setting, catalog)
    if obstacles:
        raise ExportError(obstacles)
    say("the network can be exported as integers")


def plan_without_weights(setting: Setting, catalog: Catalog) -> Plan:
    """Plan a setting on a network that has shapes alone."""
    import torch

    from qcli.training.assembly import build_float_model, plan_setting

    try:
        with torch.device("meta"):
            model = build_float_model(setting)
    except PluginError:
        # Some networks read their own weights while they are built.
        model = build_float_model(setting)
    return plan_setting(setting, model, catalog)
