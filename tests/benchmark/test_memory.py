"""Bytes of a step, counted by hand."""

import torch
from torch import nn

from qcli.benchmark.memory import LiveBytes, count_step_bytes

FLOAT = 4


def test_what_has_ended_makes_room():
    with LiveBytes() as live:
        first = torch.zeros(100)
        second = first * 2
        del first
        second = second + 1
        del second
    assert live.most == 200 * FLOAT
    assert live.now == 0


def test_memory_that_is_shared_counts_once():
    outside = torch.zeros(100)
    with LiveBytes() as live:
        outside.view(10, 10).add_(1)
        inside = torch.zeros(50)
        views = [inside[:10], inside.t(), inside.detach()]
        assert views
    assert live.most == 50 * FLOAT


def test_what_backward_needs_lives_until_then():
    """Each exp keeps its result for backward, whoever else forgets it."""
    x = torch.ones(1000, requires_grad=True)
    with LiveBytes() as live:
        kept = x.exp().exp()
        assert live.now == 2000 * FLOAT
        kept = kept.sum()
        assert live.now == 2001 * FLOAT
        del kept
        assert live.now == 0


def test_bytes_of_a_linear_layer():
    """12 numbers of weight and of momentum stay; then output, loss and gradients come.

    Forward: 6 of the output, which end, and 1 of the sum. Backward: 1 that its gradient starts
    from, which is spread as a view, and 12 of the weight's gradient.
    """
    model = nn.Linear(4, 3, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    x = torch.ones(2, 4)

    def step():
        model(x).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    found = count_step_bytes(model, optimizer, step)
    assert found == FLOAT * (2 * 12 + 12 + 1 + 1)
