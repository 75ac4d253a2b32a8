"""What meets in a layer's input is counted with the bits of its widest part."""

import pytest
import torch
from torch import nn

import qcli
from qcli.quantization.survey import survey_model

IMAGE = (3, 8, 8)


class Branches(nn.Module):
    """Two branches that meet, a shuffle of what they made, and a layer that takes it."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.last = nn.Conv2d(4, 5, 1)
        self.sum = nn.Conv2d(5, 5, 1)

    def forward(self, x):
        met = self.pool(torch.cat([self.relu1(self.left(x)), self.relu2(self.right(x))], 1))
        kept = met.view(-1, 2, 4, 4, 4).transpose(1, 2).contiguous().view(-1, 8, 4, 4).chunk(2, 1)
        y = self.last(kept[0])
        return self.sum(y + y.mean())


def test_parts_are_found_through_what_moves_values():
    parts = survey_model(Branches(), IMAGE).parts
    assert parts["last"] == ("relu1", "relu2")
    assert parts["relu1"] == ("left",)
    assert "left" not in parts
    assert "sum" not in parts


@pytest.mark.parametrize(
    ("widths", "received"), [((4, 4), 4), ((4, 8), 8), ((8, 4), 8), ((4, None), 32)]
)
def test_what_meets_has_the_bits_of_its_widest_part(catalog, make_recipe, widths, received):
    rules = [
        {"match": name, "output": {"quantizer": "lsq", "bits": bits} if bits else None}
        for name, bits in zip(("relu1", "relu2"), widths, strict=True)
    ]
    default = {"weight": {"quantizer": "lsq", "bits": 4}}
    recipe = make_recipe(default=default, layers=rules)
    plan = qcli.make_plan(Branches(), recipe, IMAGE, catalog=catalog)
    assert {row.layer: row.input_bits for row in plan.layers}["last"] == received
