"""A training recipe, frozen, as the training code reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qcli.recipe.schedule import Schedule


@dataclass(frozen=True)
class OptimizerRecipe:
    """The optimizer and its options.

    Args:
        name: sgd, adam or adamw.
        options: What torch's constructor takes beside the parameters, the learning rate and the
            weight decay.
        weight_decay: L2 penalty for the roles weight, latent and norm_bias.
        groups: By role, `weight_decay` and `lr_factor` where they differ.
        schedules: By role, the learning rate where it has one of its own.
    """

    name: str
    options: Mapping[str, Any]
    weight_decay: float
    groups: Mapping[str, Mapping[str, float]]
    schedules: Mapping[str, Schedule]


@dataclass(frozen=True)
class DistillationRecipe:
    """How much a teacher counts.

    Args:
        weight: Its share in the loss, above 0, at most 1.
        temperature: Divides the scores of both networks before the softmax, above 0.
    """

    weight: float
    temperature: float


@dataclass(frozen=True)
class TrainingRecipe:
    """How a network is trained: the fields of the training schema, all filled in.

    `document` is the effective recipe as JSON: feeding it back reproduces the run. `compile` is
    True, False or "auto".
    """

    name: str
    initialization: str
    normalize: str | Mapping[str, Any]
    augment: tuple[str | Mapping[str, Any], ...]
    epochs: int
    batch_size: int
    accumulate: int
    drop_last: bool
    precision: str
    lr: Schedule
    optimizer: OptimizerRecipe
    loss: str
    freeze: tuple[str, ...]
    clip_gradient_norm: float | None
    clip_gradient_at: str
    ema_decay: float | None
    distill: DistillationRecipe | None
    label_smoothing: float
    compile: bool | str
    channels_last: bool
    validation_fraction: float
    select_on: str
    select_by: str
    seed: int
    calibration_batches: int
    batch_norm_recalibration_batches: int
    evaluation_batch_size: int
    evaluation_resize: int | None
    evaluation_crop: str
    interpolation: str
    workers: int | None
    checkpoint_every_minutes: float
    health: str
    document: Mapping[str, Any]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrainingRecipe:
        """Build the recipe from a checked and filled JSON object."""
        about = {"$schema", "source", "note", "reported", "architecture", "dataset"}
        fields = {key: part for key, part in value.items() if key not in about}
        fields["lr"] = Schedule.from_json(fields["lr"])
        fields |= {key: tuple(fields[key]) for key in ("augment", "freeze")}
        fields["optimizer"] = _optimizer(fields["optimizer"])
        distill = fields["distill"]
        fields["distill"] = DistillationRecipe(**distill) if distill is not None else None
        fields["ema_decay"] = (fields.pop("ema") or {}).get("decay")
        return cls(**fields, document=value)


def _optimizer(value: Mapping[str, Any]) -> OptimizerRecipe:
    options = dict(value)
    groups = {role: dict(group) for role, group in options.pop("groups").items()}
    schedules = {role: group.pop("lr") for role, group in groups.items() if "lr" in group}
    return OptimizerRecipe(
        name=options.pop("name"),
        weight_decay=options.pop("weight_decay"),
        groups=groups,
        schedules={role: Schedule.from_json(value) for role, value in schedules.items()},
        options=options,
    )
