"""Parameter groups, the optimizers of recipes, and what one optimizer step computes."""

import copy
import itertools
from typing import ClassVar

import pytest
import torch
from torch import nn

from qcli.errors import UsageError
from qcli.quantization.quantizer import ParameterDefaults, Quantizer
from qcli.quantization.roles import RoledParameter, assign_roles
from qcli.recipe.schedule import Progress
from qcli.training.batches import MicroBatch, Normalizer, Process, ResidentTraining
from qcli.training.division import Division
from qcli.training.evaluation import Tally
from qcli.training.optimizer import (
    find_spared,
    make_optimizer,
    parameter_groups,
    set_learning_rate,
)
from qcli.training.splits import ArraySplit

CPU = torch.device("cpu")
START = Progress(0, 10, 0, 2)
LSQ = {"weight": {"quantizer": "lsq"}, "input": {"quantizer": "lsq"}}


def optimizer_recipe(make_recipe, **fields):
    return make_recipe(optimizer={"name": "sgd"} | fields).optimizer


def named_groups(model, groups):
    """Return the names of each group's parameters, and how they are treated, by role."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        group["role"]: (
            {names[id(parameter)] for parameter in group["params"]},
            group["weight_decay"],
            group["lr_factor"],
        )
        for group in groups
    }


def test_every_parameter_is_in_the_group_of_its_role(make_network, quantize_by, make_recipe):
    network = quantize_by(
        make_network(norm=True), (3, 6, 6), LSQ, first_layer={"weight": None, "input": None}
    )
    recipe = optimizer_recipe(make_recipe, weight_decay=0.25)
    groups = parameter_groups(assign_roles(network), recipe)
    assert named_groups(network, groups) == {
        "weight": ({"conv1.weight"}, 0.25, 1.0),
        "latent": (
            {f"{layer}.parametrizations.weight.original" for layer in ("conv2", "fc")},
            0.25,
            1.0,
        ),
        "norm_bias": (
            {f"norm{number}.{part}" for number in (1, 2) for part in ("weight", "bias")}
            | {f"{layer}.bias" for layer in ("conv1", "conv2", "fc")},
            0.25,
            1.0,
        ),
        "quantizer": (
            {f"{layer}.parametrizations.weight.0.step_size" for layer in ("conv2", "fc")}
            | {f"{layer}.input_quantizer.step_size" for layer in ("conv2", "fc")},
            0.0,
            1.0,
        ),
    }
    assert [group["role"] for group in groups] == ["weight", "latent", "norm_bias", "quantizer"]


def test_the_recipe_wins_role_by_role_and_value_by_value(make_network, quantize_by, make_recipe):
    network = quantize_by(make_network(), (3, 6, 6), LSQ)
    own = {
        "latent": {"weight_decay": 0.5},
        "norm_bias": {"weight_decay": 0, "lr_factor": 3},
        "quantizer": {"lr_factor": 0.1},
    }
    recipe = optimizer_recipe(make_recipe, weight_decay=0.25, groups=own)
    groups = named_groups(network, parameter_groups(assign_roles(network), recipe))
    treated = {role: values[1:] for role, values in groups.items()}
    assert treated == {"latent": (0.5, 1.0), "norm_bias": (0, 3), "quantizer": (0.0, 0.1)}


@pytest.mark.parametrize(
    ("own", "default", "expected"),
    [
        ({}, ParameterDefaults(), (0.25, 1.0)),
        ({}, ParameterDefaults(0.0), (0.0, 1.0)),
        ({}, ParameterDefaults(0.5, 2.0), (0.5, 2.0)),
        ({"weight_decay": 0}, ParameterDefaults(0.5, 2.0), (0, 2.0)),
        ({"lr_factor": 0}, ParameterDefaults(0.5, 2.0), (0.5, 0)),
        ({"weight_decay": 0.125, "lr_factor": 4}, ParameterDefaults(0.5, 2.0), (0.125, 4)),
    ],
)
def test_recipe_then_quantizer_then_weight_decay(make_recipe, own, default, expected):
    recipe = optimizer_recipe(
        make_recipe, weight_decay=0.25, groups={"quantizer": own} if own else {}
    )
    parameter = RoledParameter("x", nn.Parameter(torch.zeros(1)), "quantizer", default)
    (group,) = parameter_groups([parameter], recipe)
    assert (group["weight_decay"], group["lr_factor"]) == expected


def test_quantizers_that_differ_get_groups_of_their_own(make_recipe):
    def make(default):
        return RoledParameter("x", nn.Parameter(torch.zeros(1)), "latent", default)

    slow = ParameterDefaults(None, 0.5)
    parameters = [make(slow), make(ParameterDefaults()), make(slow)]
    groups = parameter_groups(parameters, optimizer_recipe(make_recipe))
    assert [(group["lr_factor"], len(group["params"])) for group in groups] == [(0.5, 2), (1.0, 1)]


class Slow(Quantizer):
    """Learns one number, and asks that it learns slowly and decays."""

    parameter_defaults: ClassVar = {"quantizer": ParameterDefaults(0.75, 0.5)}

    def __init__(self, info):
        super().__init__(info)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, latent):
        return latent * self.gain

    def codebook(self):
        return torch.tensor([0.0, 1.0])


def test_what_a_quantizer_asks_for_reaches_its_parameters(make_network, quantize_by, make_recipe):
    network = quantize_by(make_network(), (3, 6, 6), {"weight": {"quantizer": "own"}}, own=Slow)
    recipe = optimizer_recipe(make_recipe, weight_decay=0.25)
    groups = named_groups(network, parameter_groups(assign_roles(network), recipe))
    assert groups["quantizer"][1:] == (0.75, 0.5)
    assert groups["latent"][1:] == (0.25, 1.0)


class Clip(Slow):
    """Decays like weights, as PACT's clip."""

    parameter_defaults: ClassVar = {"quantizer": ParameterDefaults(weight_decay=None)}


def test_a_clip_that_must_decay_is_not_kept_from_it(make_network, quantize_by, make_recipe):
    network = quantize_by(make_network(), (3, 6, 6), {"weight": {"quantizer": "own"}}, own=Clip)
    roles = assign_roles(network)
    freed = {"quantizer": {"weight_decay": 0}}
    with pytest.raises(UsageError, match=r"must decay, or it never shrinks.*write 0.25"):
        parameter_groups(roles, optimizer_recipe(make_recipe, weight_decay=0.25, groups=freed))
    decayed = named_groups(
        network, parameter_groups(roles, optimizer_recipe(make_recipe, weight_decay=0.25))
    )
    assert decayed["quantizer"][1] == 0.25
    # A recipe without any decay, as N2D2's for LeNet, says so by itself.
    assert parameter_groups(roles, optimizer_recipe(make_recipe, groups=freed))


def test_the_learning_rate_is_multiplied_by_the_factor_of_a_group(make_network, make_recipe):
    recipe = optimizer_recipe(make_recipe, groups={"norm_bias": {"lr_factor": 0.5}})
    optimizer = make_optimizer(make_network(), recipe, CPU)
    assert [group["lr"] for group in optimizer.param_groups] == [0, 0]
    for lr in (0.5, 0.25):
        set_learning_rate(optimizer, make_recipe(lr=lr), START)
        assert [group["lr"] for group in optimizer.param_groups] == [lr, lr / 2]


class Undecayed(Slow):
    """Its latent does not decay, as QNN's."""

    parameter_defaults: ClassVar = {"latent": ParameterDefaults(weight_decay=0.0)}


def test_it_is_said_that_a_method_spares_its_weights(make_network, quantize_by, make_recipe):
    own = {"weight": {"quantizer": "own"}}
    spared = assign_roles(quantize_by(make_network(), (3, 6, 6), own, own=Undecayed))
    plain = assign_roles(quantize_by(make_network(), (3, 6, 6), own, own=Slow))
    decaying = optimizer_recipe(make_recipe, weight_decay=0.25)
    told = find_spared(spared, decaying)
    assert told is not None
    assert told.startswith("weight_decay 0.25 is not that of 3 quantized weights")
    assert find_spared(plain, decaying) is None
    assert find_spared(spared, optimizer_recipe(make_recipe)) is None
    said = optimizer_recipe(
        make_recipe, weight_decay=0.25, groups={"latent": {"weight_decay": 0.25}}
    )
    assert find_spared(spared, said) is None


def test_a_role_follows_its_own_schedule(make_network, make_recipe):
    """N2D2's clip solver: the quantizers' rate falls while that of the weights stays."""
    own = {"lr": {"kind": "linear", "start": 0.8, "end": 0}}
    recipe = make_recipe(lr=0.1, optimizer={"name": "sgd", "groups": {"norm_bias": own}})
    optimizer = make_optimizer(make_network(), recipe.optimizer, CPU)
    seen = {}
    for step in (0, 5):
        set_learning_rate(optimizer, recipe, Progress(step, 10, step // 5, 2))
        seen[step] = {group["role"]: group["lr"] for group in optimizer.param_groups}
    assert seen[0] == {"weight": 0.1, "norm_bias": 0.8}
    assert seen[5] == {"weight": 0.1, "norm_bias": 0.4}


@pytest.mark.parametrize(
    ("recipe", "kind", "expected"),
    [
        ({"name": "sgd"}, torch.optim.SGD, {"momentum": 0.9, "nesterov": False}),
        (
            {"name": "sgd", "momentum": 0.5, "nesterov": True},
            torch.optim.SGD,
            {"momentum": 0.5, "nesterov": True},
        ),
        ({"name": "adam"}, torch.optim.Adam, {"eps": 1e-8}),
        ({"name": "adam", "eps": 0.1}, torch.optim.Adam, {"eps": 0.1}),
        ({"name": "adamw", "weight_decay": 0.5}, torch.optim.AdamW, {"weight_decay": 0.5}),
    ],
)
def test_optimizers_have_the_options_of_the_recipe(make_recipe, recipe, kind, expected):
    optimizer = make_optimizer(nn.Linear(2, 2), optimizer_recipe(make_recipe, **recipe), CPU)
    assert type(optimizer) is kind
    for group in optimizer.param_groups:
        assert {key: group[key] for key in expected} == expected


def one_gradient_of_one(make_recipe, **fields):
    """Return what 1.0 becomes after two steps with a gradient of 1 and lr 0.1."""
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    optimizer = make_optimizer(layer, optimizer_recipe(make_recipe, **fields), CPU)
    values = []
    for _ in range(2):
        set_learning_rate(optimizer, make_recipe(lr=0.1), START)
        layer.weight.grad = torch.ones(1, 1)
        optimizer.step()
        values.append(layer.weight.item())
    return values


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "sgd", "momentum": 0}, [0.9, 0.8]),
        ({"name": "sgd"}, [0.9, 0.9 - 0.1 * 1.9]),
        ({"name": "sgd", "nesterov": True}, [1 - 0.19, 0.81 - 0.1 * (1 + 0.9 * 1.9)]),
        # Decay is part of the gradient here,
        ({"name": "sgd", "momentum": 0, "weight_decay": 0.5}, [0.85, 0.85 - 0.1 * 1.425]),
        ({"name": "adam", "weight_decay": 0.5}, [0.9, 0.8]),
        # and beside it here.
        ({"name": "adamw", "weight_decay": 0.5}, [0.95 - 0.1, 0.85 * 0.95 - 0.1]),
        # 1 / (1 + eps): eps is added to the root of the second moment.
        ({"name": "adam", "eps": 1.0}, [0.95, 0.9]),
        ({"name": "adam", "betas": [0, 0], "eps": 1.0}, [0.95, 0.9]),
    ],
)
def test_steps_are_those_of_the_formulas(make_recipe, fields, expected):
    assert one_gradient_of_one(make_recipe, **fields) == pytest.approx(expected, rel=1e-3)


def test_betas_reach_adam(make_recipe):
    recipe = optimizer_recipe(make_recipe, name="adam", betas=[0.5, 0.75])
    optimizer = make_optimizer(nn.Linear(1, 1, bias=False), recipe, CPU)
    assert list(optimizer.param_groups[0]["betas"]) == [0.5, 0.75]


def random_split(count):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, 6, 6), dtype=torch.uint8, generator=generator)
    return ArraySplit(images, torch.randint(4, (count,), generator=generator))


def train_epoch(learn, network, recipe, num_images):
    """Return the state and the metrics after the steps of one epoch."""
    learner = learn(network, recipe)
    division = Division(num_images, recipe.batch_size, recipe.accumulate)
    normalizer = Normalizer(None, False, CPU)
    batches = ResidentTraining(
        random_split(num_images), division, ["flip"], normalizer, 0, Process(0, 1, CPU)
    )
    tally = Tally(CPU)
    for number, step in enumerate(batches.epoch(0, 0)):
        learner.step(step, Progress(number, 10, 0, 1), tally)
    return learner.network.state_dict(), tally.read()


@pytest.mark.parametrize("quantized", [False, True], ids=["float", "quantized"])
@pytest.mark.parametrize("num_images", [16, 16 + 11])
@pytest.mark.parametrize("accumulate", [2, 4])
def test_micro_batches_add_up_to_the_batch(
    learn, make_recipe, make_network, quantize_by, accumulate, num_images, quantized
):
    torch.manual_seed(0)
    network = make_network()
    if quantized:
        quantize_by(network, (3, 6, 6), {"weight": {"quantizer": "lsq"}})
    start = copy.deepcopy(network.state_dict())
    (whole, metrics), (added, others) = (
        train_epoch(
            learn,
            copy.deepcopy(network),
            make_recipe(batch_size=16, accumulate=count, lr=0.2),
            num_images,
        )
        for count in (1, accumulate)
    )
    assert any(not torch.equal(start[name], whole[name]) for name in start)
    for name in whole:
        torch.testing.assert_close(added[name], whole[name], rtol=1e-5, atol=1e-6)
    assert others.loss == pytest.approx(metrics.loss, rel=1e-6)
    assert (others.top1, others.top5, others.count) == (metrics.top1, metrics.top5, num_images)


def distance(learn, make_recipe, network, **fields):
    """Return how far one step of plain descent with lr 1 goes."""
    plain = {"name": "sgd", "momentum": 0}
    learner = learn(copy.deepcopy(network), make_recipe(lr=1, optimizer=plain, **fields))
    split = random_split(8)
    batch = MicroBatch(split.images / 255, split.labels)
    learner.step([batch], START, Tally(CPU))
    pairs = zip(network.parameters(), learner.network.parameters(), strict=True)
    return torch.cat([(one - other).flatten() for one, other in pairs]).norm().item()


def test_the_gradient_is_clipped_by_the_norm_of_all_parameters(learn, make_recipe, make_network):
    torch.manual_seed(0)
    network = make_network()
    free = distance(learn, make_recipe, network)
    assert free > 0.1
    for share in (0.01, 0.5):
        clipped = distance(learn, make_recipe, network, clip_gradient_norm=share * free)
        assert clipped == pytest.approx(share * free, rel=1e-3)
    longer = distance(learn, make_recipe, network, clip_gradient_norm=2 * free)
    assert longer == pytest.approx(free, rel=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_micro_batches_are_clipped_together(learn, make_recipe, make_network, accumulate):
    torch.manual_seed(0)
    network, split = make_network(), random_split(8)
    fields = {"lr": 1, "optimizer": {"name": "sgd", "momentum": 0}, "clip_gradient_norm": 0.01}
    learner = learn(copy.deepcopy(network), make_recipe(**fields))
    chunks = zip(
        (split.images / 255).chunk(accumulate), split.labels.chunk(accumulate), strict=True
    )
    learner.step([MicroBatch(*chunk, 1 / accumulate) for chunk in chunks], START, Tally(CPU))
    pairs = zip(network.parameters(), learner.network.parameters(), strict=True)
    moved = torch.cat([(one - other).flatten() for one, other in pairs]).norm().item()
    assert moved == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_by_hand(learn, make_recipe, smoothing):
    """The target of the right class is 1 - e + e/K, that of the others e/K."""
    logits = torch.tensor([1.0, 0.0, -2.0])
    network = nn.Linear(1, 3)
    network.weight.data.zero_()
    network.bias.data.copy_(logits)
    plain = {"name": "sgd", "momentum": 0}
    recipe = make_recipe(lr=1, optimizer=plain, label_smoothing=smoothing)
    learner, tally = learn(network, recipe), Tally(CPU)
    learner.step([MicroBatch(torch.zeros(1, 1), torch.tensor([2]))], START, tally)
    likely = logits.exp() / logits.exp().sum()
    target = torch.tensor([smoothing / 3] * 3) + torch.tensor([0, 0, 1 - smoothing])
    assert tally.read().loss == pytest.approx(-float((target * likely.log()).sum()), rel=1e-6)
    torch.testing.assert_close(learner.network.bias.detach(), logits - (likely - target))


def test_roles_partition_the_parameters(make_network, quantize_by, make_recipe):
    network = quantize_by(make_network(norm=True), (3, 6, 6), LSQ)
    groups = parameter_groups(assign_roles(network), optimizer_recipe(make_recipe))
    members = list(itertools.chain.from_iterable(group["params"] for group in groups))
    assert sorted(map(id, members)) == sorted(map(id, network.parameters()))


def test_frozen_parameters_are_left_out(make_network, make_recipe):
    network = make_network()
    network.fc.requires_grad_(False)
    groups = named_groups(
        network, parameter_groups(assign_roles(network), optimizer_recipe(make_recipe))
    )
    assert groups["weight"][0] == {"conv1.weight", "conv2.weight"}
    assert groups["norm_bias"][0] == {"conv1.bias", "conv2.bias"}
