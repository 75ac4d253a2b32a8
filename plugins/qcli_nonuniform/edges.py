"""Where the steps of a staircase are: between the clusters of the values that it meets.

Everything is computed on the CPU in float64, so that every process and device finds the same edges.
"""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST_SAMPLE = 1_000_000
MOST_ROUNDS = 1000
# The paper's edges around the value 0.
ZERO_EDGE = 0.05


def sort_sample(x: Tensor, tail_fraction: float) -> Tensor:
    """Return values in order, at most a million, without a share at either end: float64 [N]."""
    # An odd stride meets every column and row of images.
    values = x.flatten()[:: (x.numel() // LARGEST_SAMPLE) | 1].cpu().double().sort().values
    num_cut = int(len(values) * tail_fraction)
    return values[num_cut : len(values) - num_cut]


def find_edges(rule: str, levels: Tensor, values: Tensor, is_weight: bool) -> Tensor:
    """Return the edges between K levels, ascending: float64 [K - 1].

    Args:
        rule: "paper", "kmeans" or "linear".
        levels: The values of the staircase before scaling, ascending: [K].
        values: What is quantized, times the gain, ascending: float64 [N].
        is_weight: Whether the paper's rules for weights hold.
    """
    levels = levels.cpu().double()
    if rule == "paper" and is_weight and len(levels) == 2:
        return levels.new_zeros(1)
    edges = middles(levels)
    # Fewer distinct values than levels form no clusters: a layer of zeros.
    if rule != "linear" and len(torch.unique_consecutive(values)) >= len(levels):
        edges = middles(find_centers(values, len(levels)))
    return _part_zero(edges, levels) if rule == "paper" and is_weight else edges


def middles(x: Tensor) -> Tensor:
    """Return the middle of each two neighbors."""
    return (x[1:] + x[:-1]) / 2


def find_centers(values: Tensor, count: int) -> Tensor:
    """Return the centers of one-dimensional k-means, ascending: float64 [count].

    They start at quantiles of the distinct values (half of what a ReLU returns is one value), and
    move to the means of their clusters until nothing changes.

    Args:
        values: Ascending: float64 [N], `count` of them distinct at least.
        count: How many clusters.
    """
    distinct = torch.unique_consecutive(values)
    centers: Tensor = distinct[((torch.arange(count) + 0.5) / count * len(distinct)).long()]
    ends = torch.tensor([0, len(values)])
    sums = torch.cat([values.new_zeros(1), values.cumsum(0)])
    for _ in range(MOST_ROUNDS):
        inner = torch.searchsorted(values, middles(centers))
        splits = torch.cat([ends[:1], inner, ends[1:]])
        sizes, totals = splits.diff(), sums[splits].diff()
        moved = torch.where(sizes > 0, totals / sizes, centers)
        if torch.equal(moved, centers):
            break
        centers = moved
    return centers


def _part_zero(edges: Tensor, levels: Tensor) -> Tensor:
    """Return edges with -0.05 and 0.05 around the value 0, where there is one."""
    if not bool((levels == 0).any()):
        return edges
    zero = int((levels < 0).sum())
    below, above = edges[:zero].clamp(max=-ZERO_EDGE), edges[zero:].clamp(min=ZERO_EDGE)
    below[-1:], above[:1] = -ZERO_EDGE, ZERO_EDGE
    return torch.cat([below, above])
