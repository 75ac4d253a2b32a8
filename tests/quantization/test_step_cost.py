"""What a step costs is counted as by hand: operations, bytes, what is kept, and what waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qcli
from qcli.testing import measure_step
from qcli.testing.operations import Operations

X = torch.linspace(-1, 1, 24).reshape(2, 3, 4)
# float32: each number of X takes four bytes.
BYTES = 96


@pytest.mark.parametrize(
    ("work", "names", "moved_bytes"),
    [
        (lambda x: x + x, ["add"], 3 * BYTES),
        (lambda x: x * 2.0, ["mul"], 2 * BYTES),
        (lambda x: x.clone().mul_(x), ["clone", "mul_"], 2 * BYTES + 3 * BYTES),
        (lambda x: torch.empty_like(x).copy_(x), ["copy_"], 2 * BYTES),
        (lambda x: torch.empty_like(x).fill_(1.0), ["fill_"], BYTES),
        (lambda x: torch.mul(x, x, out=torch.empty_like(x)), ["mul"], 3 * BYTES),
        (lambda x: x > 0, ["gt"], BYTES + 24),
        (lambda x: x.double(), ["_to_copy"], BYTES + 2 * BYTES),
        (lambda x: x.sum(), ["sum"], BYTES + 4),
        (lambda x: x.sum((0, 1)), ["sum"], BYTES + 16),
        (lambda x: x.sum().expand(2, 3, 4) + x, ["sum", "add"], BYTES + 4 + 4 + 2 * BYTES),
        (lambda x: torch.cat([x, x]), ["cat"], 2 * BYTES + 2 * BYTES),
        (lambda x: x.max(0), ["max"], BYTES + 48 + 96),
        (lambda x: x.view(6, 4).mT[1].unbind()[0].detach().reshape(1), [], 0),
        (lambda x: x.float().to(torch.float32).contiguous(), [], 0),
    ],
)
def test_operations_and_bytes(
    work: Callable[[Tensor], Any], names: list[str], moved_bytes: int
) -> None:
    with Operations() as seen:
        work(X)
    assert (seen.names, seen.moved_bytes, seen.waits) == (names, moved_bytes, [])


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: float(x.max()),
        lambda x: int(x[0, 0, 0]),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.detach().numpy(),
        lambda x: x.nonzero(),
        lambda x: torch.where(x > 0),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: x.clone().index_put_((x > 0,), torch.ones(12)),
        lambda x: x.unique(),
        lambda x: torch.unique_consecutive(x),
        lambda x: torch.bincount(x.flatten().long().abs()),
        lambda x: torch.linalg.solve(torch.eye(3), x[0]),
        lambda x: torch.linalg.inv(torch.eye(3)),
        lambda x: torch.linalg.eigh(torch.eye(3)),
        lambda x: torch.linalg.svd(x[0]),
        lambda x: torch.linalg.lstsq(torch.eye(3), x[0]),
        lambda x: torch.equal(x, x),
        lambda x: torch.allclose(x, x),
        lambda x: x.repeat_interleave(torch.tensor([1, 2]), 0),
        lambda x: x + torch.tensor([1.0, 2.0, 3.0, 4.0]),
        lambda x: x.to("meta"),
        lambda x: torch.empty_like(x, device="meta").copy_(x),
    ],
)
def test_what_waits(work: Callable[[Tensor], Any]) -> None:
    with Operations() as seen:
        work(X)
    assert seen.waits


@pytest.mark.parametrize(
    "work",
    [
        lambda x: torch.where(x > 0, x, 0.0),
        lambda x: x.clone().masked_fill_(x > 0, 1.0),
        lambda x: x.clone().index_put_((x > 0,), torch.ones(())),
        lambda x: x[torch.arange(2)],
        lambda x: x.sort().values.argmax(),
        lambda x: torch.linalg.solve_ex(torch.eye(3), x[0]),
        lambda x: x.fill_(float(2)),
        lambda x: x.to("meta", non_blocking=True),
        lambda x: torch.empty_like(x, device="meta").copy_(x, non_blocking=True),
        lambda x: x.repeat_interleave(2, 0),
        lambda x: x.clone().clamp_(-1, 1) + 1.0,
    ],
)
def test_what_does_not_wait(work: Callable[[Tensor], Any]) -> None:
    with Operations() as seen:
        work(X.clone())
    assert seen.waits == []


class Half(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, keep: str) -> Tensor:
        ctx.save_for_backward(x, scale)
        if keep == "a mask":
            ctx.save_for_backward(x, scale, x > 0)
        if keep == "an attribute":
            ctx.mask = x > 0
        return x * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, scale, *_ = ctx.saved_tensors
        return gradient * scale, (gradient * x).sum(), None


class Halving(qcli.Quantizer):
    """Multiplies by a parameter, and waits where it is told to."""

    def __init__(self, info: qcli.TensorInfo, *, keep: str = "", waits: str = "") -> None:
        super().__init__(info)
        self.keep, self.waits = keep, waits
        self.scale = nn.Parameter(torch.tensor(0.5))

    def on_progress(self, progress: qcli.Progress) -> None:
        self._wait("on_progress")

    def forward(self, latent: Tensor) -> Tensor:
        self._wait("forward")
        if self.waits == "backward":
            latent = latent.view_as(latent)
            latent.register_hook(lambda gradient: self._wait("backward"))
        return Half.apply(latent, self.scale, self.keep)

    def after_step(self, latent: Tensor | None) -> None:
        assert (latent is not None) == (self.info.role == "weight")
        self._wait("after_step")

    def _wait(self, part: str) -> None:
        if self.waits == part:
            self.scale.item()


@pytest.mark.parametrize("role", ["weight", "input"])
def test_a_step_as_by_hand(role: str) -> None:
    """Forward reads x and s; backward reads g and s, then g and x and the product, for two sums."""
    quantizer = Halving(qcli.TensorInfo(role, tuple(X.shape)))
    cost = measure_step(quantizer, X)
    assert cost.operations == {
        "on_progress": (),
        "forward": ("mul",),
        "backward": ("mul", "mul", "sum"),
        "after_step": (),
    }
    forward, backward = 2 * BYTES + 4, (2 * BYTES + 4) + 3 * BYTES + (BYTES + 4)
    assert cost.extra_bytes == forward + backward - 4 * BYTES
    assert cost.saved_bytes == 0
    assert not any(cost.waits.values())


@pytest.mark.parametrize("keep", ["a mask", "an attribute"])
def test_what_is_kept_for_backward_is_seen(keep: str) -> None:
    cost = measure_step(Halving(qcli.TensorInfo("input", (3, 4)), keep=keep), X)
    assert cost.saved_bytes == X.numel()


@pytest.mark.parametrize("part", ["on_progress", "forward", "backward", "after_step"])
def test_a_wait_is_told_by_part(part: str) -> None:
    cost = measure_step(Halving(qcli.TensorInfo("weight", (2, 3, 4)), waits=part), X)
    assert {name: waits for name, waits in cost.waits.items() if waits} == {
        part: ("_local_scalar_dense",)
    }


def test_measuring_leaves_the_latent_and_the_global_generator_alone() -> None:
    before, drawn = X.clone(), torch.get_rng_state()
    measure_step(Halving(qcli.TensorInfo("weight", (2, 3, 4))), X)
    assert torch.equal(before, X)
    assert torch.equal(drawn, torch.get_rng_state())
