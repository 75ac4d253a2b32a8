"""What a finished run came to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safetensors.torch import load_model

from qcli.quantization.cost import count_cost
from qcli.quantization.plan import Plan
from qcli.training.class_scores import CLASS_SCORES, selectable_scores
from qcli.training.loop import Loop
from qcli.training.position import Position
from qcli.training.run_directory import SCHEMA_VERSION


def make_result(loop: Loop, position: Position, plan: Plan) -> dict[str, Any]:
    """Return result.json: the best and the last epoch, cost and speed; accuracies are 0..1."""
    recipe = loop.recipe
    assert position.best is not None
    last = loop.rows[-1]
    cost = count_cost(plan)
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "selected_on": recipe.select_on,
        "selected_by": recipe.select_by,
        "best": _scores(position.best),
        "last": _scores(last),
        "epochs": len(loop.rows),
        "parameters": cost.parameters,
        "weight_bytes": cost.weight_bytes,
        "float_weight_bytes": cost.float_bytes,
        "train_seconds": round(sum(row["train_seconds"] for row in loop.rows), 3),
        "val_seconds": round(sum(row["val_seconds"] for row in loop.rows), 3),
        "images_per_second": last["images_per_second"],
    }
    if loop.watch:
        result["health"] = [vars(finding) for finding in loop.watch.findings()]
    if recipe.select_on == "validation":
        result["test"] = _measure_test(loop)
    return result


def _scores(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "epoch": row["epoch"],
        "top1": row["val_top1"],
        "top5": row["val_top5"],
        "loss": row["val_loss"],
        **{name: row[f"val_{name}"] for name in CLASS_SCORES if f"val_{name}" in row},
    }


def _measure_test(loop: Loop) -> dict[str, Any]:
    """Measure the best weights once on the test set, which selected nothing."""
    loop.accelerator.wait_for_everyone()
    load_model(loop.learner.network, loop.run.path / "best.safetensors")
    metrics = loop.measure(loop.data.test)
    plain = {"top1": metrics.top1, "top5": metrics.top5, "loss": metrics.loss}
    return {**plain, **selectable_scores(metrics.confusion)}
