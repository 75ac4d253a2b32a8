"""The optimizer and its parameter groups: one for each way in which parameters are treated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from qcli.errors import UsageError
from qcli.quantization.roles import ROLES, RoledParameter, assign_roles
from qcli.recipe.schedule import Progress
from qcli.recipe.training import OptimizerRecipe, TrainingRecipe

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def make_optimizer(
    model: nn.Module, recipe: OptimizerRecipe, device: torch.device, *, scaled: bool = False
) -> torch.optim.Optimizer:
    """Build the recipe's optimizer over a quantized network.

    Every group keeps its `lr_factor`, by which the scheduled learning rate is multiplied.

    Args:
        model: The network.
        recipe: Which optimizer.
        device: Where the network is.
        scaled: Whether a loss scaler may skip steps.
    """
    options: dict[str, Any] = dict(recipe.options)
    # A fused optimizer skips steps by itself, and nobody hears that it did.
    options["fused"] = device.type in ("cpu", "cuda") and not scaled
    if "betas" in options:
        # torch refuses the 0 of JSON, which is an integer.
        options["betas"] = tuple(float(beta) for beta in options["betas"])
    return OPTIMIZERS[recipe.name](parameter_groups(assign_roles(model), recipe), lr=0.0, **options)


def parameter_groups(
    parameters: Sequence[RoledParameter], recipe: OptimizerRecipe
) -> list[dict[str, Any]]:
    """Group parameters that are treated alike, in the order of roles.

    The recipe's `groups` wins, then the quantizer's own defaults, then the recipe's weight decay.

    Raises:
        UsageError: The recipe keeps a quantizer from decay whose method rests on it.
    """
    _require_decay(parameters, recipe)
    groups: dict[tuple[str, float, float], list[nn.Parameter]] = {}
    for each in parameters:
        own = recipe.groups.get(each.role, {})
        decay = each.defaults.weight_decay
        key = (
            each.role,
            own.get("weight_decay", recipe.weight_decay if decay is None else decay),
            own.get("lr_factor", each.defaults.lr_factor),
        )
        groups.setdefault(key, []).append(each.parameter)
    ordered = sorted(groups.items(), key=lambda item: ROLES.index(item[0][0]))
    return [
        {"params": members, "role": role, "weight_decay": decay, "lr_factor": factor}
        for (role, decay, factor), members in ordered
    ]


def find_spared(parameters: Sequence[RoledParameter], recipe: OptimizerRecipe) -> str | None:
    """Say that a method keeps its latents from the recipe's weight decay; None: it does not."""
    if "weight_decay" in recipe.groups.get("latent", {}) or not recipe.weight_decay:
        return None
    spared = [
        each
        for each in parameters
        if each.role == "latent" and each.defaults.weight_decay not in (None, recipe.weight_decay)
    ]
    if not spared:
        return None
    return (
        f"weight_decay {recipe.weight_decay:g} is not that of {len(spared)} quantized weights: "
        f"their method trains them with {spared[0].defaults.weight_decay:g}, unless "
        "optimizer.groups.latent.weight_decay says otherwise"
    )


def _require_decay(parameters: Sequence[RoledParameter], recipe: OptimizerRecipe) -> None:
    """Refuse clips without decay: the gradient alone moves PACT's in one direction, up."""
    if recipe.groups.get("quantizer", {}).get("weight_decay") != 0 or not recipe.weight_decay:
        return
    for each in parameters:
        if each.role == "quantizer" and each.defaults.weight_decay is None:
            raise UsageError(
                f"{each.name} must decay, or it never shrinks, but the recipe's "
                "/optimizer/groups/quantizer/weight_decay is 0; remove it, or write "
                f"{recipe.weight_decay:g}"
            )


def set_learning_rate(
    optimizer: torch.optim.Optimizer, recipe: TrainingRecipe, progress: Progress
) -> None:
    """Write the learning rate of its role into every group, times the group's factor."""
    for group in optimizer.param_groups:
        schedule = recipe.optimizer.schedules.get(group["role"], recipe.lr)
        group["lr"] = schedule.at(progress) * group["lr_factor"]
