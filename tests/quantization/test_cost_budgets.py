"""What a training step of every quantizer may cost at most, counted: no clock and no device.

A row holds for one quantizer in one role; an output costs what an input does. Counted are

- `operations`: calls of ATen in forward and backward that work on memory (views, and memory that is
  only taken, are none), without the operations of the layer, the loss and the optimizer;
- `beside`: the same in `on_progress` and `after_step`;
- `extra_bytes`: bytes for each element that is quantized, float32, forward and backward together,
  where every operation reads its arguments and writes its results once, beyond what no form can
  do without: to read x and g and to write y and the gradient of x. Of a search, x is the K logits
  of a weight. What does not grow with the tensor, such as a step or a scale, is left out.

Nothing may be saved for backward but what forward was given, parameters and buffers: all of that
is there anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

import qcli
from qcli.testing import StepCost, measure_step
from qcli.testing.case import Case

CATALOG = qcli.load_catalog()


@dataclass(frozen=True)
class Budget:
    quantizer: str
    role: str
    operations: int
    beside: int
    extra_bytes: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        chosen = "".join(f", {key} {part}" for key, part in self.options.items())
        return f"{self.quantizer} {self.role}{chosen}"


TWO_BITS = {"value_space": [-1, -0.5, 0.5, 1]}
BUDGETS = (
    Budget("categorical", "weight", 17, 1, 164),
    Budget("categorical", "weight", 31, 1, 356, TWO_BITS),
    Budget("categorical", "weight", 21, 1, 328, {"sampling": "soft", **TWO_BITS}),
    Budget("categorical", "weight", 33, 10, 452, {"sampling": "gumbel", **TWO_BITS}),
    Budget("cg_pact", "input", 18, 1, 116),
    Budget("cg_pact", "weight", 38, 0, 183),
    Budget("dorefa", "input", 6, 0, 36),
    Budget("dorefa", "weight", 38, 0, 183),
    Budget("dorefa", "weight", 6, 3, 32, {"bits": 1}),
    Budget("lq_nets", "input", 42, 31, 176),
    Budget("lq_nets", "weight", 38, 31, 148),
    Budget("lsq", "input", 14, 1, 100),
    Budget("lsq", "input", 14, 1, 100, {"signed": False}),
    Budget("lsq", "weight", 14, 1, 100),
    Budget("lsq", "weight", 16, 1, 116, {"bits": 1}),
    Budget("lsq", "weight", 14, 1, 100, {"granularity": "channel"}),
    Budget("pact", "input", 12, 1, 68),
    Budget("pact", "weight", 38, 0, 183),
    Budget("qnn", "input", 6, 0, 36),
    Budget("qnn", "input", 7, 0, 44, {"bits": 2}),
    Budget("qnn", "weight", 6, 1, 36),
    Budget("quantization_networks", "input", 90, 3, 700),
    Budget("quantization_networks", "input", 70, 3, 540, {"sampling": "hard"}),
    Budget("quantization_networks", "weight", 68, 3, 508),
    Budget("sat", "input", 18, 1, 116),
    Budget("sat", "weight", 24, 27, 136),
    Budget("ttq", "weight", 23, 6, 180),
    Budget("twn", "weight", 8, 11, 52),
    Budget("uniform", "input", 26, 24, 72),
    Budget("uniform", "weight", 17, 6, 68),
    Budget("uniform", "weight", 17, 7, 68, {"granularity": "channel"}),
    Budget("wrpn", "input", 7, 0, 44),
    Budget("wrpn", "weight", 7, 0, 44),
    Budget("xnor", "input", 6, 0, 36),
    Budget("xnor", "weight", 10, 7, 72),
)

# By quantizer, role and dtype: why something else is saved, and how many bytes for each element.
SAVED = {
    ("sat", "weight", torch.float32): ("tanh(w), and that over M: autograd's, of few numbers", 8),
    ("quantization_networks", "input", torch.bfloat16): ("the input as float32", 4),
}


def measure(budget: Budget, length: int, dtype: torch.dtype = torch.float32) -> StepCost:
    """Count a step on a weight [4, length, 3, 3], or on a batch [length, 4, 3, 3]."""
    is_weight = budget.role == "weight"
    shape = (4, length, 3, 3) if is_weight else (4, 3, 3)
    info = qcli.TensorInfo(budget.role, shape, channel_axis=0 if is_weight else 1)
    generator = torch.Generator().manual_seed(0)
    tensor = torch.randn(shape if is_weight else (length, *shape), generator=generator)
    entry = CATALOG.quantizer(budget.quantizer)
    quantizer, latent = Case(entry, info, "normal", tensor, budget.options).start()
    return measure_step(quantizer, latent.to(dtype))


def per_element(small: int, large: int) -> float:
    """Return what an element costs, of 36 for each of the 32 samples or channels between them."""
    return (large - small) / (32 * 36)


@pytest.mark.parametrize("budget", BUDGETS, ids=str)
def test_within_budget(budget: Budget) -> None:
    small, large = measure(budget, 32), measure(budget, 64)
    parts = {name: len(operations) for name, operations in large.operations.items()}
    assert parts["forward"] + parts["backward"] <= budget.operations
    assert parts["on_progress"] + parts["after_step"] <= budget.beside
    assert per_element(small.extra_bytes, large.extra_bytes) <= budget.extra_bytes


# A latent is float32 in every precision of training.
IN_TRAINING = [(budget, torch.float32) for budget in BUDGETS] + [
    (budget, torch.bfloat16) for budget in BUDGETS if budget.role == "input"
]


@pytest.mark.parametrize(("budget", "dtype"), IN_TRAINING, ids=str)
def test_nothing_is_saved_for_backward(budget: Budget, dtype: torch.dtype) -> None:
    _, known = SAVED.get((budget.quantizer, budget.role, dtype), ("", 0))
    small, large = measure(budget, 32, dtype), measure(budget, 64, dtype)
    assert per_element(small.saved_bytes, large.saved_bytes) == known


def test_every_quantizer_has_a_budget() -> None:
    roles = {
        (name, "weight" if slot == "weight" else "input")
        for name in CATALOG.of_kind("quantizers")
        for slot in CATALOG.quantizer(name).quantizes
    }
    assert {(budget.quantizer, budget.role) for budget in BUDGETS} == roles


@pytest.mark.parametrize("name", sorted(CATALOG.of_kind("quantizers")))
def test_an_output_costs_what_an_input_does(name: str) -> None:
    if "output" in CATALOG.quantizer(name).quantizes:
        costs = [measure(Budget(name, role, 0, 0, 0), 32) for role in ("input", "output")]
        assert costs[0] == costs[1]
