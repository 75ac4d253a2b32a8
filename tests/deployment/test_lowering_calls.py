"""Calls between modules, and how they lie together: lowered and compared with float64."""

import numpy as np
import pytest
import torch
from lowered_networks import (
    IMAGE_BITS,
    INPUTS,
    SHAPE,
    Calls,
    chain,
    check,
    compare,
    lower_network,
    lsq,
    make_recipe,
    scramble_norms,
)
from torch import nn
from torch.nn import functional as F

from qcli.deployment.graph import Convolution, Lookup, MaxPool
from qcli.deployment.lowering.walk import Pixels

conv, norm = nn.Conv2d, nn.BatchNorm2d
SCORES = {"match": "fc", "input": lsq(6)}
JOINED = make_recipe(
    {"weight": lsq(3), "output": lsq(4)}, [SCORES], first_layer={"input": IMAGE_BITS}
)


CALLS = {
    "relu": lambda s, x: s.body(x).relu(),
    "functional relu": lambda s, x: F.relu(s.body(x), inplace=True),
    "flatten": lambda s, x: torch.flatten(s.body(x), start_dim=1),
    "view by size": lambda s, x: s.body(x).view(x.size(0), -1),
    "reshape by shape": lambda s, x: s.body(x).reshape(x.shape[0], -1),
    "split channels": lambda s, x: s.body(x).reshape(-1, 8, 3, 6),
    "unsqueeze": lambda s, x: s.body(x).unsqueeze(2).squeeze(2).contiguous().clone(),
    "permute pixels": lambda s, x: s.body(x).permute(0, 1, 3, 2),
    "permute by name": lambda s, x: torch.permute(s.body(x), dims=(0, 1, 3, 2)),
    "transpose pixels": lambda s, x: torch.transpose(s.body(x), dim0=2, dim1=-1),
    "subsample": lambda s, x: s.body(x)[:, :, ::2, ::3],
    "mean": lambda s, x: s.body(x).mean((-1, -2)),
    "mean keepdim": lambda s, x: torch.mean(s.body(x), dim=[2, 3], keepdim=True),
    "max pool": lambda s, x: F.max_pool2d(s.body(x), 3, stride=2, padding=1, ceil_mode=True),
    "max pool dilated": lambda s, x: F.max_pool2d(s.body(x), (2, 1), dilation=2),
    "adaptive average": lambda s, x: F.adaptive_avg_pool2d(s.body(x), (3, 1)),
    "dropout": lambda s, x: F.dropout(s.body(x), 0.5, s.training),
    "add a number": lambda s, x: 0.25 + (s.body(x) + 1),
    "concat": lambda s, x: torch.cat([s.body(x), s.twin(x)], 1),
    "concat from behind": lambda s, x: torch.cat((s.twin(x), s.body(x), s.twin(x)), dim=-3),
    "sum": lambda s, x: s.body(x) + s.twin(x),
    "sum in place": lambda s, x: s.body(x).add_(s.twin(x)),
    "sum of three": lambda s, x: s.body(x) + s.twin(x) + s.body(x),
    "doubled": lambda s, x: doubled(s.body(x)),
}


def doubled(x):
    x += x
    return x


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    torch.manual_seed(2)
    call = CALLS[name]

    def forward(self, x):
        return self.fc(call(self, self.image(x)).flatten(1))

    modules = {"body": nn.Sequential(conv(2, 4, 3), norm(4)), "image": nn.Identity()}
    modules["twin"] = nn.Sequential(conv(2, 4, 1), nn.AvgPool2d(3, 1), norm(4))
    network = Calls(forward, **modules, fc=nn.Identity())
    features = network.eval()(torch.zeros(2, *SHAPE)).shape[1]
    network.fc = nn.Linear(features, 3)
    image = {"match": "image", "output": IMAGE_BITS}
    check(network, make_recipe({"weight": lsq(3)}, [image, SCORES]))


def moved(move):
    """Return a network that moves channels of one scale and one slope."""
    torch.manual_seed(0)
    modules = {"conv": conv(2, 4, 3), "act": nn.PReLU(4), "fc": nn.Linear(144, 3)}
    nn.init.constant_(modules["conv"].bias, 0.3)
    return Calls(lambda s, x: s.fc(move(s.act(s.conv(x))).flatten(1)), **modules)


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x.permute(0, 2, 1, 3),
        lambda x: x.transpose(1, 3),
        lambda x: x.reshape(-1, 6, 4, 6),
        lambda x: x.view(-1, 2, 2, 6, 6).transpose(1, 2).reshape(-1, 4, 6, 6),
    ],
    ids=["permute", "transpose", "reshape", "shuffle"],
)
def test_channels_of_one_scale_may_move(move):
    check(moved(move), INPUTS)


def residual(self, x):
    y = self.relu1(self.conv1(x))
    total = self.norm2(self.conv2(y)) + self.norm3(self.conv3(y)) + y + self.conv4(y) + y
    kept = self.relu2(total)
    return self.fc((0.25 + self.pool(kept + y + kept)).flatten(1))


def make_residual():
    torch.manual_seed(3)
    return Calls(
        residual,
        conv1=conv(2, 4, 3),
        relu1=nn.ReLU(),
        conv2=conv(4, 4, 3, padding=1),
        norm2=norm(4),
        conv3=conv(4, 4, 1),
        norm3=norm(4),
        conv4=conv(4, 4, 3, padding=1, groups=4),
        relu2=nn.ReLU(),
        pool=nn.AvgPool2d(2),
        fc=nn.Linear(36, 3),
    )


def test_sums_of_many_operands():
    lowered = check(make_residual(), JOINED)
    (kept,) = (node for node in lowered.graph.nodes if node.name == "relu2.output")
    assert set(kept.inputs) == {"conv2", "conv3", "relu1.output", "conv4"}


def test_sums_of_many_planes():
    recipe = make_recipe(
        {
            "weight": {"quantizer": "lq_nets", "bits": 2},
            "output": {"quantizer": "lq_nets", "bits": 2},
        },
        [SCORES],
        first_layer={"input": IMAGE_BITS},
    )
    lowered = check(make_residual(), recipe)
    (kept,) = (node for node in lowered.graph.nodes if node.name == "relu2.output")
    # Three layers of two planes on two planes, and the two planes themselves.
    assert len(kept.inputs) == 3 * 4 + 2


def joined(self, x):
    y = self.relu1(self.conv1(x))
    z = self.relu2(self.conv2(y))
    return self.fc(self.conv3(torch.cat([y, z, y], 1)).flatten(1))


@pytest.mark.parametrize("output", [lsq(4), {"quantizer": "lq_nets", "bits": 2}])
def test_concatenation_of_different_scales_is_quantized_anew(output):
    torch.manual_seed(4)
    modules = {"conv1": conv(2, 4, 3), "relu1": nn.ReLU(), "conv2": conv(4, 3, 3, padding=1)}
    modules |= {"relu2": nn.ReLU(), "conv3": conv(11, 2, 3), "fc": nn.Linear(32, 3)}
    rules = [SCORES, {"match": "conv3", "input": lsq(6)}]
    recipe = make_recipe(
        {"weight": lsq(3), "output": output}, rules, first_layer={"input": IMAGE_BITS}
    )
    check(Calls(joined, **modules), recipe)


def test_a_border_of_channels():
    torch.manual_seed(5)
    pad = Calls(lambda s, x: F.pad(x, (1, 2, 0, 1, 1, 2)))
    network = chain(conv(2, 4, 3, bias=False), pad, conv(7, 2, 3))
    last = {"match": "4", "input": lsq(6)}
    check(network, make_recipe({"weight": lsq(3)}, [last], first_layer={"input": IMAGE_BITS}))


def test_layers_without_a_quantizer_between_them():
    """Offsets and scales of channels pass a layer without a border, by group."""
    rules = [{"match": "5", "input": lsq(5)}]
    recipe = make_recipe({"weight": lsq(3)}, rules, first_layer={"input": IMAGE_BITS})
    check(chain(conv(2, 4, 3), conv(4, 4, 3, groups=2), conv(4, 8, 1, groups=2), norm(8)), recipe)
    check(chain(conv(2, 4, 3), norm(4), conv(4, 8, 3, groups=4), norm(8)), recipe)


def test_pixels_without_a_quantizer():
    """The first layer takes pixels; the offset of the normalization goes into its bias."""
    rules = [{"match": "3", "input": lsq(5)}]
    lowered = check(chain(conv(2, 4, 3), norm(4)), make_recipe({"weight": lsq(3)}, rules))
    first = lowered.graph.nodes[0]
    assert isinstance(first, Convolution)
    assert first.inputs == ("image",)


def test_pixels_of_each_channel():
    pixels = Pixels(np.array([0.25, 0.015625]), np.array([-4.0, 0.5]))
    network = scramble_norms(chain(conv(2, 4, 3, padding=1), norm(4)))
    lowered = lower_network(network, INPUTS, SHAPE, pixels=pixels)
    assert compare(lowered, pixels=pixels).unexplained == []
    (table,) = (node.table for node in lowered.graph.nodes if isinstance(node, Lookup))
    assert table.shape == (2, 256)


def test_what_moves_before_the_first_quantizer():
    check(chain(nn.MaxPool2d(2), norm(2), conv(2, 4, 3)), INPUTS)
    check(chain(norm(2), conv(2, 4, 3, padding=1)), INPUTS)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = conv(4, 4, 3, padding=1)
        self.norm = norm(4)

    def forward(self, x):
        return self.norm(self.conv(x)) + x


def test_a_container_with_an_output_quantizer():
    rules = [{"match": "2", "output": lsq(3)}]
    recipe = make_recipe(
        {"weight": lsq(3), "input": lsq(4)}, rules, first_layer={"input": IMAGE_BITS}
    )
    lowered = check(chain(conv(2, 4, 3), norm(4), Block(), conv(4, 4, 3)), recipe)
    assert "2.output" in lowered.graph.observed


def test_a_module_may_have_the_name_of_a_tensor():
    torch.manual_seed(6)
    network = Calls(
        lambda s, x: s.logits(s.image(x).flatten(1)), image=conv(2, 4, 3), logits=nn.Linear(144, 3)
    )
    lowered = check(network, INPUTS)
    names = [node.name for node in lowered.graph.nodes]
    assert len({*names, "image"}) == len(names) + 1


def test_nothing_that_no_one_reads_is_kept():
    def forward(self, x):
        y = self.conv(x)
        self.unused(y)
        return self.fc(y.flatten(1))

    torch.manual_seed(7)
    unused = {"conv": conv(2, 4, 3), "unused": nn.MaxPool2d(2), "fc": nn.Linear(144, 3)}
    lowered = check(Calls(forward, **unused), INPUTS)
    assert not any(isinstance(node, MaxPool) for node in lowered.graph.nodes)
