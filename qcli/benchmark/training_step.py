"""Training steps in this process, built as `qcli train` builds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle

import torch

from qcli.benchmark.case import Arm
from qcli.catalog.load import load_catalog
from qcli.quantization.calibration import calibrate
from qcli.recipe.schedule import Progress
from qcli.recipe.setting import Request, Setting, resolve_setting
from qcli.training.assembly import assemble
from qcli.training.batches import MicroBatch
from qcli.training.evaluation import Tally
from qcli.training.learner import Learner, make_learner
from qcli.training.record import SessionOptions
from qcli.training.session import open_accelerator

# Data that repeat would stay in the caches.
NUM_BATCHES = 4
# Of CIFAR-10 at batch 128; schedules move as they do there.
STEPS_OF_AN_EPOCH = 391
# A GPU works behind Python: a unit is long enough that waiting for its end costs nothing.
STEPS_OF_A_GPU_UNIT = 10
RESNET20 = "resnet20-cifar10-200ep"


@dataclass(frozen=True)
class Training:
    """A network that can take steps.

    Args:
        learner: Takes them.
        setting: What was asked for.
        device: Where.
    """

    learner: Learner
    setting: Setting
    device: torch.device

    @property
    def batch_size(self) -> int:
        """Images of a step."""
        return self.learner.recipe.batch_size

    def step(self, batches: Sequence[MicroBatch], number: int) -> None:
        """Take step `number`."""
        epochs = self.learner.recipe.epochs
        progress = Progress(
            step=number,
            total_steps=epochs * STEPS_OF_AN_EPOCH,
            epoch=number // STEPS_OF_AN_EPOCH,
            total_epochs=epochs,
            seed=self.learner.recipe.seed,
        )
        self.learner.step(batches, progress, Tally(self.device))


def make_training(request: Request, *, cuda: bool = False) -> Training:
    """Build, quantize and calibrate the network that a command line asks for."""
    catalog = load_catalog()
    setting = resolve_setting(request, catalog)
    recipe = setting.training
    assert recipe is not None
    accelerator = open_accelerator(recipe, SessionOptions(cpu=not cuda))
    torch.manual_seed(recipe.seed)
    assembly = assemble(setting, catalog, None)
    model = assembly.model.to(accelerator.device)
    images = draw_batches(setting, accelerator.device)[0].images
    calibrate(model, [images], assembly.fresh)
    learner = make_learner(accelerator, model, recipe)
    learner.network.train()
    return Training(learner, setting, accelerator.device)


def draw_batches(setting: Setting, device: torch.device) -> list[MicroBatch]:
    """Draw random batches of a setting's size and shape."""
    recipe = setting.training
    assert recipe is not None
    dataset = setting.dataset
    classes = (dataset and dataset.num_classes) or setting.architecture.default_num_classes
    generator = torch.Generator().manual_seed(recipe.seed)
    batches = []
    for _ in range(NUM_BATCHES):
        images = torch.randn(recipe.batch_size, *setting.image_shape, generator=generator)
        if recipe.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.randint(classes, (recipe.batch_size,), generator=generator)
        batches.append(MicroBatch(images.to(device), labels.to(device)))
    return batches


def make_step(request: Request, *, cuda: bool = False) -> Arm:
    """Return an arm that takes steps on random batches."""
    training = make_training(request, cuda=cuda)
    batches = draw_batches(training.setting, training.device)
    return arm_of_steps(training, cycle([batch] for batch in batches))


def arm_of_steps(training: Training, batches: Iterator[list[MicroBatch]]) -> Arm:
    """Return an arm that takes steps on the batches of an endless iterator."""
    numbers = count()

    def step() -> None:
        training.step(next(batches), next(numbers))

    return make_arm(step, training.batch_size, training.device)


def make_arm(step: Callable[[], None], batch_size: int, device: torch.device) -> Arm:
    """Return an arm of a step; on a GPU of several, and of waiting for their end."""
    if device.type != "cuda":
        return Arm(step, batch_size)

    def unit() -> None:
        for _ in range(STEPS_OF_A_GPU_UNIT):
            step()
        torch.cuda.synchronize()

    return Arm(unit, STEPS_OF_A_GPU_UNIT * batch_size)
