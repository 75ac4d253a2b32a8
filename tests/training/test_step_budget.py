"""What an optimizer step of ResNet-20 may cost, counted against the float network's step.

Counted is all of `Learner.step`: schedules, forward, loss, metrics, backward, optimizer and what
quantizers mend after it, with 39 quantizers where every layer has one for its weight and its input
but the first, whose input is the image.
"""

from dataclasses import dataclass
from functools import cache

import pytest
import torch

from qcli.quantization.calibration import calibrate
from qcli.quantization.surgery import quantizers
from qcli.recipe.schedule import Progress
from qcli.recipe.setting import Request, resolve_setting
from qcli.testing.operations import Operations
from qcli.testing.step_cost import bytes_beside, keep_saved
from qcli.training.assembly import assemble
from qcli.training.batches import MicroBatch
from qcli.training.evaluation import Tally

TRAINING = "resnet20-cifar10-200ep"
# Of the float network: 19 convolutions, norms and ReLUs make 114 of them, forward and backward.
FLOAT = 193
# By recipe: the operations of its step, and the bytes saved for backward by 128 images against
# those of the float network. Rivals: 1,055 to 2,549 operations, and 2.2 to 2.47 times the bytes.
BUDGETS = {
    "lsq-w4a4": (779, 1.5),
    "dorefa-w4a4": (986, 1.5),
    "pact-w4a4": (1113, 1.5),
    "lq_nets-w2a2": (2768, 1.5),
    "slb-w2a4": (1149, 1.5),
    "search-2b": (770, 1.02),
    "ttq-w2a32": (717, 1.02),
    # It keeps the tangent of each weight, and what that becomes.
    "sat-w4a4": (1081, 1.51),
    # These quantize the images too, and keep what they make of them.
    "quantization_networks-w2a2-integer": (2688, 1.51),
    "uniform-w8a8": (1669, 1.51),
}
# On the CPU alone, `Learner` reads at once whether the loss is finite: nobody waits there.
ONE_READING_OF_THE_LOSS = ["_local_scalar_dense"]


@dataclass(frozen=True)
class Cost:
    operations: int
    saved_bytes: int
    waits: list[str]
    quantizers: int


@pytest.fixture(scope="module")
def measure(catalog, learn):
    """Return a function from a quantization recipe, None for float, to the cost of a step.

    The second step is counted: the first makes the optimizer's state.
    """

    @cache
    def measure_steps(name, images=2, overrides=()):
        request = Request(train_json=TRAINING, quant_json=name, overrides=overrides)
        setting = resolve_setting(request, catalog)
        model = assemble(setting, catalog, 10).model
        batch = MicroBatch(torch.rand(images, 3, 32, 32), torch.arange(images))
        calibrate(model, [batch.images])
        learner = learn(model, setting.training)
        tally = Tally(torch.device("cpu"))
        learner.step([batch], Progress(0, 100, 0, 10), tally)
        with keep_saved() as saved, Operations() as seen:
            learner.step([batch], Progress(50, 100, 5, 10), tally)
        known = [batch.images, batch.labels, *model.parameters(), *model.buffers()]
        served = len(list(quantizers(model)))
        return Cost(len(seen.names), bytes_beside(saved, known), seen.waits, served)

    return measure_steps


def saved_by_128(measure, name):
    """Return what 128 images save: one part is the weights', the other grows with the images."""
    one, two = (measure(name, images).saved_bytes for images in (2, 4))
    return one + (two - one) * (128 - 2) // 2


def test_the_float_step_is_what_quantization_is_measured_by(measure):
    cost = measure(None)
    assert cost.operations <= FLOAT
    assert cost.quantizers == 0


@pytest.mark.parametrize("name", BUDGETS)
def test_operations(measure, name):
    assert measure(name).operations <= BUDGETS[name][0]


@pytest.mark.parametrize("name", BUDGETS)
def test_saved_for_backward(measure, name):
    assert saved_by_128(measure, name) <= BUDGETS[name][1] * saved_by_128(measure, None)


@pytest.mark.parametrize("name", BUDGETS)
def test_a_step_waits_for_nothing_but_the_loss_on_the_cpu(measure, name):
    assert measure(name).waits == ONE_READING_OF_THE_LOSS


def test_clipping_and_averaging_do_not_wait(measure):
    cost = measure("lsq-w4a4", overrides=("clip_gradient_norm=1", "ema.decay=0.99"))
    assert cost.waits == ONE_READING_OF_THE_LOSS
