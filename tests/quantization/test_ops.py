"""The straight-through operations: exact forward, and the gradient that papers mean."""

from __future__ import annotations

import pytest
import torch

import qcli


def test_straight_through_returns_the_value_bit_for_bit() -> None:
    source = torch.randn(10000, generator=torch.Generator().manual_seed(0)) * 1e3
    value = source / 3
    result = qcli.straight_through(source, value)
    assert torch.equal(result.view(torch.int32), value.view(torch.int32))


def test_straight_through_gives_the_gradient_to_the_source_alone() -> None:
    source = torch.tensor([0.3, -0.7], requires_grad=True)
    value = torch.tensor([1.0, -1.0], requires_grad=True)
    qcli.straight_through(source, value).backward(torch.tensor([2.0, 3.0]))
    assert source.grad is not None
    assert source.grad.tolist() == [2.0, 3.0]
    assert value.grad is None


def test_straight_through_of_a_tensor_to_itself_is_a_new_tensor() -> None:
    source = torch.ones(2, requires_grad=True)
    result = qcli.straight_through(source, source)
    result.sum().backward()
    assert result is not source
    assert source.grad is not None
    assert source.grad.tolist() == [1.0, 1.0]


def test_round_ste_rounds_half_to_even() -> None:
    x = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.6], requires_grad=True)
    result = qcli.round_ste(x)
    result.backward(torch.arange(7.0))
    assert result.tolist() == [-2.0, -2.0, 0.0, 0.0, 2.0, 2.0, 3.0]
    assert x.grad is not None
    assert x.grad.tolist() == list(range(7))


def test_scale_gradient_keeps_the_value_and_scales_the_gradient() -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0), requires_grad=True)
    result = qcli.scale_gradient(x, 0.25)
    result.sum().backward()
    assert torch.equal(result, x)
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full_like(x, 0.25))


@pytest.mark.parametrize("reduce", [qcli.all_reduce_sum, qcli.all_reduce_max])
def test_one_process_reduces_to_itself(reduce) -> None:
    x = torch.tensor([1.0, -2.0])
    assert reduce(x) is x


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pass_inside_gives_the_gradient_on_the_bounds_and_between(dtype: torch.dtype) -> None:
    x = torch.tensor([-1.5, -1.0, 0.25, 1.0, 1.5], dtype=dtype, requires_grad=True)
    value = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    result = qcli.pass_inside(x, value)
    result.backward(torch.full((5,), 0.5, dtype=dtype))
    assert result.dtype == dtype
    assert result.tolist() == value.tolist()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0.5, 0.5, 0.5, 0]


@pytest.mark.parametrize("number", [-1.0, -0.75, -1e-45, -0.0, 0.0, 1e-45, 0.1, 1.0, 2.0])
def test_keep_inside_takes_its_bounds_and_nothing_beyond(number: float) -> None:
    bound = torch.tensor(number)
    x = torch.stack([bound, bound.nextafter(torch.tensor(torch.inf))])
    kept = qcli.keep_inside(torch.ones(2), x, -5, float(bound))
    assert kept.tolist() == [1, 0]
    mirrored = qcli.keep_inside(torch.ones(2), -x, -float(bound), 5)
    assert mirrored.tolist() == [1, 0]
    assert qcli.keep_between(torch.ones(2), x, -5, float(bound)).tolist() == [0, 0]


def test_signs_are_new_and_of_zero_one() -> None:
    x = torch.tensor([-2.0, -0.0, 0.0, 3.0])
    assert qcli.signs(x).tolist() == [-1, 1, 1, 1]
    assert x.tolist() == [-2, 0, 0, 3]
    assert qcli.signs(x.bfloat16()).dtype == torch.float32
