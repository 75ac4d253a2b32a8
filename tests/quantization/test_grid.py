"""Grids that give a codebook back exactly, and thresholds found without arithmetic."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import qcli
from qcli.quantization.grid import find_thresholds, fit_grid

UNSORTED = [-0.25, -0.5, -1.0, -2.0, 2.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    ("values", "step", "integers"),
    [
        ([-1.0, 1.0], 1.0, [-1, 1]),
        ([-1.0, -0.5, 0.5, 1.0], 0.5, [-2, -1, 1, 2]),
        (UNSORTED, 0.25, [-1, -2, -4, -8, 8, 4, 2, 1]),
        ([0.0, 2.0, 3.0], 1.0, [0, 2, 3]),
        ([3.0, 5.0], 1.0, [3, 5]),
        ([0.0, 0.0], 1.0, [0, 0]),
        ([2.0**-64, 2.0**-60], 2.0**-64, [1, 16]),
    ],
)
def test_fit_grid_finds_step_and_integers(
    values: list[float], step: float, integers: list[int]
) -> None:
    grid = fit_grid(torch.tensor(values))
    assert grid is not None
    assert (float(grid.step), grid.integers.tolist(), int(grid.zero_point)) == (step, integers, 0)
    assert grid.integers.dtype == torch.int32
    assert torch.equal(grid.values(), torch.tensor(values))


@pytest.mark.parametrize(
    "values",
    [
        [1.0, math.sqrt(2)],
        [1.0, 1e-6],
        [2.0**-12, 2.0**12],
        [1.0, 1.0 + 2.0**-20],
    ],
)
def test_fit_grid_refuses_what_lies_on_no_grid(values: list[float]) -> None:
    assert fit_grid(torch.tensor(values)) is None


@pytest.mark.parametrize("values", [[[0, 0, 0], [-3, 0, 3], [-0.5, 0, 0.5]], [[0, 0], [0, 0]]])
def test_fit_grid_lets_a_channel_of_zeros_share_the_integers(values: list[list[float]]) -> None:
    book = torch.tensor(values, dtype=torch.float32)
    grid = fit_grid(book)
    assert grid is not None
    assert torch.equal(grid.values(), book)
    assert [step == 0 for step in grid.step.tolist()] == [not any(row) for row in values]


def test_fit_grid_finds_the_multiples_of_any_step() -> None:
    steps = torch.rand(500, generator=torch.Generator().manual_seed(0))
    for step in steps:
        grid = fit_grid(torch.arange(-8, 8) * step)
        assert grid is not None
        assert torch.equal(grid.step, step)


@pytest.mark.parametrize("bits", range(1, 9))
def test_fit_grid_finds_the_odd_multiples_of_dorefa(bits: int) -> None:
    top = 2**bits - 1
    odd = torch.arange(-top, top + 1, 2)
    grid = fit_grid(odd * torch.tensor(1 / top))
    assert grid is not None
    assert grid.integers.tolist() == odd.tolist()


def test_fit_grid_gives_each_channel_a_step() -> None:
    steps = torch.tensor([0.3, 0.7])
    book = torch.tensor([-2.0, -1.0, 0.0, 1.0]) * steps.unsqueeze(-1)
    grid = fit_grid(book)
    assert grid is not None
    assert torch.equal(grid.step, steps)
    assert torch.equal(grid.values(), book)


def test_fit_grid_refuses_channels_of_different_integers() -> None:
    assert fit_grid(torch.tensor([[-1.0, 1.0], [1.0, 3.0]])) is None


def test_grid_values_count_from_the_zero_point() -> None:
    integers = torch.arange(4, dtype=torch.int32)
    zero = torch.tensor(1, dtype=torch.int32)
    assert qcli.Grid(torch.tensor(0.5), integers, zero).values().tolist() == [-0.5, 0, 0.5, 1]


def test_thresholds_count_what_x_reached() -> None:
    tau = torch.tensor([-1.0, 0.0, torch.inf], dtype=torch.float64)
    strict = torch.tensor([False, True, True])
    x = torch.tensor([[-2.0, -1.0, -0.0], [0.0, 1e-45, torch.inf]])
    assert qcli.Thresholds(tau, strict).codes(x).tolist() == [[0, 1, 1], [1, 2, 2]]


def round_half(x: Tensor) -> Tensor:
    return torch.round((x / 0.3).clamp(-2, 1)) + 2


def test_found_thresholds_hold_at_their_neighbors() -> None:
    thresholds = find_thresholds(round_half, 4)
    tau = thresholds.tau.float()
    infinity = torch.tensor(torch.inf)
    for x in (tau, tau.nextafter(infinity), tau.nextafter(-infinity)):
        assert torch.equal(thresholds.codes(x), round_half(x).int())
    assert round_half(tau).tolist() == [1, 2, 3]
    assert round_half(tau.nextafter(-infinity)).tolist() == [0, 1, 2]


def test_found_threshold_at_zero_holds_for_negative_zero() -> None:
    thresholds = find_thresholds(lambda x: (x >= 0).int(), 2)
    assert thresholds.tau.tolist() == [0.0]
    x = torch.tensor([-1e-45, -0.0, 0.0])
    assert thresholds.codes(x).tolist() == [0, 1, 1]


def test_found_threshold_can_be_the_smallest_number_above_zero() -> None:
    thresholds = find_thresholds(lambda x: (x > 0).int(), 2)
    assert thresholds.tau.tolist() == [2.0**-149]
    assert thresholds.codes(torch.tensor([-0.0, 0.0, 2.0**-149])).tolist() == [0, 0, 1]


def test_level_that_is_never_reached_has_no_threshold() -> None:
    thresholds = find_thresholds(lambda x: 2 * (x >= 1).int(), 4)
    assert thresholds.tau.tolist() == [1.0, 1.0, torch.inf]
    assert thresholds.strict.tolist() == [False, False, True]
    assert thresholds.codes(torch.tensor([0.9, 1.0, torch.inf])).tolist() == [0, 2, 2]


def test_level_that_is_always_reached_has_the_lowest_threshold() -> None:
    thresholds = find_thresholds(lambda x: 1 + (x >= 1).int(), 3)
    assert thresholds.tau.tolist() == [-torch.inf, 1.0]
    assert thresholds.codes(torch.tensor([-torch.inf, 0.0, 1.0])).tolist() == [1, 1, 2]


def test_level_that_infinity_alone_reaches_has_threshold_infinity() -> None:
    thresholds = find_thresholds(lambda x: (x == torch.inf).int(), 2)
    largest = torch.finfo(torch.float32).max
    assert thresholds.codes(torch.tensor([largest, torch.inf])).tolist() == [0, 1]


@pytest.mark.parametrize("place", [-3.4e38, -1.0, -1e-38, 1e-45, 1e-38, 0.1, 3.4e38])
def test_bisection_finds_every_float32(place: float) -> None:
    edge = torch.tensor(place)
    thresholds = find_thresholds(lambda x: (x >= edge).int(), 2)
    assert torch.equal(thresholds.tau, edge.double().reshape(1))
