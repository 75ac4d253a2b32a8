"""One optimizer step: what quantizers hear of it, in which order, and how it fails."""

import pytest
import torch
from accelerate import Accelerator

from qcli.errors import RunError
from qcli.quantization.quantizer import Quantizer
from qcli.recipe.schedule import Progress
from qcli.training.batches import MicroBatch
from qcli.training.evaluation import Tally

CPU = torch.device("cpu")
STEPS = 3


@pytest.fixture
def events():
    """Return what quantizers heard, in order."""
    return []


@pytest.fixture
def network(make_network, quantize_by, events):
    """A network whose second convolution tells what it hears, for its weight and its input."""

    class Recorder(Quantizer):
        def on_progress(self, progress):
            events.append((self.info.role, "progress", progress))

        def forward(self, latent):
            events.append((self.info.role, "forward", latent))
            return latent * 1.0

        def after_step(self, latent):
            events.append((self.info.role, "after", latent))

        def codebook(self):
            return torch.tensor([-1.0, 1.0])

    torch.manual_seed(0)
    nothing = {"weight": None, "input": None}
    own = {"weight": {"quantizer": "own"}, "input": {"quantizer": "own"}}
    network = quantize_by(
        make_network(), (3, 6, 6), own, own=Recorder, first_layer=nothing, last_layer=nothing
    )
    events.clear()
    return network


def micro_batches(count):
    generator = torch.Generator().manual_seed(0)
    return [
        MicroBatch(
            torch.rand(4, 3, 6, 6, generator=generator),
            torch.randint(4, (4,), generator=generator),
            1 / count,
        )
        for _ in range(count)
    ]


def progress_at(step):
    return Progress(step, 10, step // 5, 2, seed=7)


def take_steps(learner, accumulate=1):
    for step in range(STEPS):
        learner.step(micro_batches(accumulate), progress_at(step), Tally(CPU))


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_quantizers_hear_of_each_step_once(learn, make_recipe, network, events, accumulate):
    """A weight is quantized once, however many micro-batches compute with it."""
    take_steps(learn(network, make_recipe()), accumulate)
    for role, times in (("weight", 1), ("input", accumulate)):
        heard = [kind for who, kind, _ in events if who == role]
        assert heard == ["progress", *["forward"] * times, "after"] * STEPS


def test_all_quantizers_hear_of_progress_before_the_first_forward(
    learn, make_recipe, network, events
):
    take_steps(learn(network, make_recipe()))
    kinds = [kind for _, kind, _ in events]
    assert kinds == ["progress", "progress", "forward", "forward", "after", "after"] * STEPS


def test_quantizers_hear_where_training_is(learn, make_recipe, network, events):
    take_steps(learn(network, make_recipe()))
    heard = [what for role, kind, what in events if (role, kind) == ("weight", "progress")]
    assert heard == [progress_at(step) for step in range(STEPS)]


def test_after_a_step_the_weight_is_given_its_latent_and_the_input_nothing(
    learn, make_recipe, network, events
):
    learner = learn(network, make_recipe())
    take_steps(learner)
    latent = learner.network.conv2.parametrizations.weight.original
    given = {"weight": [], "input": []}
    for role, kind, what in events:
        if kind == "after":
            given[role].append(what)
    assert all(what is latent for what in given["weight"])
    assert given["input"] == [None] * STEPS


def test_after_step_comes_after_the_update(learn, make_recipe, make_network, quantize_by):
    seen = []

    class Watcher(Quantizer):
        def forward(self, latent):
            return latent * 1.0

        def after_step(self, latent):
            seen.append(latent.detach().clone())

        def codebook(self):
            return torch.tensor([-1.0, 1.0])

    network = quantize_by(make_network(), (3, 6, 6), {"weight": {"quantizer": "own"}}, own=Watcher)
    latent = network.fc.parametrizations.weight.original
    before = latent.detach().clone()
    learner = learn(network, make_recipe())
    learner.step(micro_batches(1), progress_at(0), Tally(CPU))
    assert torch.equal(seen[-1], latent)
    assert not torch.equal(seen[-1], before)


def test_after_step_is_left_out_where_the_loss_scaler_skips_the_step(
    learn, make_recipe, network, events, monkeypatch
):
    learner = learn(network, make_recipe())
    monkeypatch.setattr(Accelerator, "optimizer_step_was_skipped", True)
    take_steps(learner)
    assert {kind for _, kind, _ in events} == {"progress", "forward"}


def test_the_scheduled_learning_rate_is_written_before_each_step(learn, make_recipe, network):
    lr = {"kind": "linear", "start": 0.5, "end": 0}
    groups = {"norm_bias": {"lr_factor": 2}}
    learner = learn(network, make_recipe(lr=lr, optimizer={"name": "sgd", "groups": groups}))
    for step, expected in enumerate([0.5, 0.45, 0.4]):
        learner.step(micro_batches(1), progress_at(step), Tally(CPU))
        written = {group["role"]: group["lr"] for group in learner.optimizer.param_groups}
        assert written == {
            "weight": pytest.approx(expected),
            "latent": pytest.approx(expected),
            "norm_bias": pytest.approx(2 * expected),
        }


def test_a_learning_rate_of_zero_changes_nothing(learn, make_recipe, network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    take_steps(learn(network, make_recipe(lr=0)))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_gradients_do_not_reach_the_next_step(learn, make_recipe, network):
    learner = learn(network, make_recipe())
    take_steps(learner)
    assert all(parameter.grad is None for parameter in learner.network.parameters())


def test_every_image_is_counted(learn, make_recipe, network):
    tally = Tally(CPU)
    learn(network, make_recipe()).step(micro_batches(3), progress_at(0), tally)
    assert tally.read().count == 12


def test_training_lowers_the_loss(learn, make_recipe, network):
    learner = learn(network, make_recipe(lr=0.05))
    losses = []
    for step in range(10):
        tally = Tally(CPU)
        learner.step(micro_batches(1), progress_at(step), tally)
        losses.append(tally.read().loss)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("conv1.weight", "the parameter conv1.weight is not finite"),
        ("fc.bias", "the parameter fc.bias is not finite"),
        (
            "conv2.parametrizations.weight.original",
            "the parameter conv2.parametrizations.weight.original is not finite",
        ),
    ],
)
def test_a_parameter_that_is_not_finite_ends_training(learn, make_recipe, network, name, said):
    network.get_parameter(name).data[0] = float("nan")
    learner = learn(network, make_recipe())
    with pytest.raises(RunError, match=f"^the loss is nan: {said}.*checkpoint is kept; try"):
        learner.step(micro_batches(1), progress_at(0), Tally(CPU))


@pytest.mark.parametrize("place", [0, 1])
def test_images_that_are_not_finite_end_training(learn, make_recipe, network, events, place):
    batches = micro_batches(2)
    batches[place].images[0, 0, 0, 0] = float("inf")
    latent = network.conv2.parametrizations.weight.original.detach().clone()
    learner = learn(network, make_recipe())
    with pytest.raises(RunError, match="the images themselves are not finite"):
        learner.step(batches, progress_at(0), Tally(CPU))
    assert torch.equal(learner.network.conv2.parametrizations.weight.original, latent)
    assert "after" not in {kind for _, kind, _ in events}


def test_a_layer_that_overflows_ends_training(learn, make_recipe, network):
    network.conv1.weight.data.fill_(3e38)
    learner = learn(network, make_recipe())
    with pytest.raises(RunError, match="the output of conv1 is the first that is not finite"):
        learner.step(micro_batches(1), progress_at(0), Tally(CPU))
