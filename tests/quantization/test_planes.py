"""Codebooks as sums of integer planes: grids, masks, and the bases of LQ-Nets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import qcli
from qcli.quantization.planes import grid_plane, mask_planes
from qcli_binary.ttq import TTQ
from qcli_nonuniform.lq_nets import LQNets
from qcli_uniform.sat import SAT

WEIGHT = qcli.TensorInfo("weight", (3, 8), 0, "layer")
INPUT = qcli.TensorInfo("input", (8,), 1, "layer")


def lq_nets(info: qcli.TensorInfo, basis: list) -> LQNets:
    quantizer = LQNets(info, bits=torch.tensor(basis).shape[-1])
    quantizer._set_basis(torch.tensor(basis))
    return quantizer


def dot(weight: qcli.Planes, codes: Tensor, x: Tensor) -> Tensor:
    """Return the product of a row of codes and integers x by one integer sum for each plane."""
    sums = (weight.integers[codes.long()] * x.unsqueeze(-1)).sum(0)
    return (sums * weight.steps).sum()


def test_a_grid_is_one_plane() -> None:
    integers = torch.tensor([0, 1, 2, 3], dtype=torch.int32)
    grid = qcli.Grid(torch.tensor([0.3, 0.7]), integers, torch.tensor(1, dtype=torch.int32))
    planes = grid_plane(grid)
    assert planes.integers.tolist() == [[-1], [0], [1], [2]]
    assert planes.steps.shape == (2, 1)
    assert torch.equal(planes.values(), grid.values())


def test_every_value_but_0_gets_a_mask() -> None:
    planes = mask_planes(torch.tensor([-0.5, 0.0, 0.8]))
    assert planes is not None
    assert planes.integers.tolist() == [[1, 0], [0, 0], [0, 1]]
    assert planes.steps.tolist() == torch.tensor([-0.5, 0.8]).double().tolist()


def test_a_value_that_is_0_in_one_channel_keeps_its_mask() -> None:
    book = torch.tensor([[0.0, 0.0, 0.3], [-0.7, 0.0, 0.1]])
    planes = mask_planes(book)
    assert planes is not None
    assert planes.integers.tolist() == [[1, 0], [0, 0], [0, 1]]
    assert torch.equal(planes.values(), book)


@pytest.mark.parametrize(("levels", "found"), [(17, True), (18, False)])
def test_more_than_16_masks_are_refused(levels: int, found: bool) -> None:
    values = torch.arange(levels) * torch.pi
    assert (mask_planes(values) is not None) is found


def test_a_float_quantizer_has_no_planes() -> None:
    clamp = SAT(WEIGHT, rounding=False)
    assert not clamp.quantizes
    assert clamp.planes() is None


def test_ttq_has_two_masks() -> None:
    quantizer = TTQ(WEIGHT)
    weight = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    quantizer.observe(weight)
    with torch.no_grad():
        quantizer.positive_scale.fill_(0.8)
        quantizer.negative_scale.fill_(2**0.5)
    planes = quantizer.planes()
    assert planes is not None
    assert planes.integers.tolist() == [[1, 0], [0, 0], [0, 1]]
    x = torch.arange(8)
    expected = quantizer(weight).detach().double() @ x.double()
    codes = quantizer.codes(weight)
    assert torch.allclose(torch.stack([dot(planes, row, x) for row in codes]), expected)


def test_ttq_has_two_masks_before_its_scales_differ() -> None:
    quantizer = TTQ(WEIGHT)
    assert quantizer.grid() is not None
    assert quantizer.planes().steps.tolist() == [-1, 1]


def test_channels_of_lq_nets_order_their_patterns_by_themselves() -> None:
    quantizer = lq_nets(WEIGHT, [[0.2, 0.5], [0.5, 0.2], [-0.2, 0.5]])
    planes = quantizer.planes()
    assert planes.integers.tolist() == [
        [[-1, -1], [1, -1], [-1, 1], [1, 1]],
        [[-1, -1], [-1, 1], [1, -1], [1, 1]],
        [[1, -1], [-1, -1], [1, 1], [-1, 1]],
    ]
    assert torch.equal(planes.values(), quantizer.codebook())


@pytest.mark.parametrize("bits", range(1, 5))
@pytest.mark.parametrize("info", [WEIGHT, INPUT], ids=["weight", "input"])
def test_planes_of_lq_nets_give_every_level_back(info: qcli.TensorInfo, bits: int) -> None:
    rows = (3,) if info.role == "weight" else ()
    basis = torch.randn(*rows, bits, generator=torch.Generator().manual_seed(bits))
    quantizer = lq_nets(info, basis.tolist())
    planes = quantizer.planes()
    assert planes.steps.shape == (*rows, bits)
    assert set(planes.integers.unique().tolist()) == ({-1, 1} if rows else {0, 1})
    assert torch.equal(planes.values(), quantizer.codebook())
