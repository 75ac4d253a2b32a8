"""`qcli plan`: which quantizer every layer gets, and why, before anything is trained."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from qcli.catalog.catalog import Catalog
from qcli.catalog.load import load_catalog
from qcli.cli.options import json_option, make_request, plugin_options, recipe_options
from qcli.errors import PluginError
from qcli.recipe.setting import Setting, resolve_setting

if TYPE_CHECKING:
    from qcli.quantization.plan import Plan


@click.command("plan")
@recipe_options
@click.option(
    "--target",
    type=click.Choice(["integer"]),
    help="Say whether the network can be exported as integers; exit with 2 where it cannot.",
)
@json_option
@plugin_options
def command(as_json: bool, target: str | None, plugins: tuple[str, ...], **options: Any) -> None:
    """Print the layers of a network with their quantizers, and what they cost.

    Needs no data: without -d the network's own image size and number of classes are used.
    """
    catalog = load_catalog(plugins)
    setting = resolve_setting(make_request(options), catalog)
    plan = plan_without_weights(setting, catalog)
    if as_json:
        from qcli.quantization.plan_json import plan_to_json
        from qcli.reporting.console import print_data

        print_data(json.dumps(plan_to_json(plan), indent=2))
    else:
        from qcli.reporting.plan_tree import print_plan

        print_plan(plan)
    if target:
        _require_integers(setting, catalog)


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
