"""Batches of a data set in memory: the same on any number of processes, and after any resume."""

import math

import pytest
import torch

from qcli.training.batches import Normalizer, Process, ResidentEvaluation, ResidentTraining
from qcli.training.data import make_data
from qcli.training.division import Division
from qcli.training.splits import ArraySplit, Normalization, Splits

CPU = torch.device("cpu")
COUNT = 53
AUGMENT = ("pad_crop_2", "flip", "shift_1")
PLAIN = Normalizer(None, False, CPU)


def numbered_split(count=COUNT, channels=3):
    """Return random images whose labels are their numbers."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, channels, 6, 6), dtype=torch.uint8, generator=generator)
    return ArraySplit(images, torch.arange(count))


def training(index=0, processes=1, accumulate=1, *, seed=1, augment=AUGMENT, batch_size=12):
    division = Division(COUNT, batch_size, accumulate, False, processes)
    process = Process(index, processes, CPU)
    return ResidentTraining(numbered_split(), division, augment, PLAIN, seed, process)


def join_step(batches_of_processes):
    """Return the images and labels of a step over micro-batches and processes, in order."""
    parts = [part for micro in zip(*batches_of_processes, strict=True) for part in micro]
    return torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])


@pytest.mark.parametrize(
    ("processes", "accumulate"), [(1, 2), (1, 4), (2, 1), (2, 2), (3, 1), (3, 2)]
)
def test_processes_and_micro_batches_hold_the_batch_of_one_process(processes, accumulate):
    alone = list(training().epoch(2, 0))
    together = [training(i, processes, accumulate).epoch(2, 0) for i in range(processes)]
    steps = list(zip(*together, strict=True))
    # 5 images are left: as few as 6 parts would hold less than two each.
    assert len(steps) == len(alone) - (2 * processes * accumulate > 5)
    for one, several in zip(alone, steps, strict=False):
        images, labels = join_step(several)
        assert torch.equal(images, one[0].images)
        assert torch.equal(labels, one[0].labels)


@pytest.mark.parametrize("processes", [1, 2])
def test_weights_are_those_of_the_division(processes):
    batches = list(training(1 % processes, processes, 2).epoch(0, 0))
    division = Division(COUNT, 12, 2, False, processes)
    expected = [
        [part.weight for part in division.parts(step, 1 % processes)]
        for step in range(division.num_steps)
    ]
    assert [[batch.weight for batch in step] for step in batches] == expected


@pytest.mark.parametrize("first_step", [1, 3, 4, 5])
def test_starting_at_a_step_equals_skipping(first_step):
    skipped = list(training(1, 2).epoch(1, 0))[first_step:]
    started = list(training(1, 2).epoch(1, first_step))
    assert len(started) == len(skipped)
    for (one,), (other,) in zip(skipped, started, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert one.weight == other.weight


def whole_epoch(epoch, **options):
    return join_step([[step[0] for step in training(**options).epoch(epoch, 0)]])


def test_the_same_seed_and_epoch_give_the_same_images():
    (one, labels), (other, other_labels) = whole_epoch(3), whole_epoch(3)
    assert torch.equal(one, other)
    assert torch.equal(labels, other_labels)


@pytest.mark.parametrize(("epoch", "seed"), [(4, 1), (3, 2)])
def test_another_seed_or_epoch_gives_another_order_and_other_draws(epoch, seed):
    (images, labels), (others, other_labels) = whole_epoch(3), whole_epoch(epoch, seed=seed)
    assert labels.tolist() != other_labels.tolist()
    changed = images[labels.argsort()] != others[other_labels.argsort()]
    assert int(changed.flatten(1).any(1).sum()) > COUNT // 2


def test_each_image_appears_once_in_an_epoch():
    images, labels = whole_epoch(0, augment=())
    assert labels.tolist() != sorted(labels.tolist())
    assert sorted(labels.tolist()) == list(range(COUNT))
    torch.testing.assert_close(images, numbered_split().images[labels] / 255)


@pytest.mark.parametrize("batch_size", [6, 18])
def test_the_order_does_not_depend_on_the_batch_size(batch_size):
    one, other = whole_epoch(0), whole_epoch(0, batch_size=batch_size)
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])


@pytest.mark.parametrize("count", [1, 3, 4])
def test_calibration_is_alike_in_every_process(count):
    alone = list(training().calibration(count))
    assert [len(images) for images in alone] == [12] * count
    for index in range(3):
        for one, other in zip(alone, training(index, 3, 2).calibration(count), strict=True):
            assert torch.equal(one, other)


def test_calibration_shows_the_first_batches_of_the_first_epoch():
    expected = [step[0].images for step in training().epoch(0, 0)]
    for one, other in zip(expected, training().calibration(3), strict=False):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("batch_size", "sizes"), [(13, [13] * 4), (26, [26] * 2), (53, [53])])
def test_calibration_ends_with_the_last_whole_batch(batch_size, sizes):
    batches = training(batch_size=batch_size).calibration(9)
    assert [len(images) for images in batches] == sizes


def test_calibration_on_a_set_smaller_than_a_batch_takes_all_of_it():
    assert [len(images) for images in training(batch_size=60).calibration(9)] == [53]


def test_calibration_batches_have_a_largest_size():
    split = numbered_split(700)
    division = Division(700, 600)
    batches = ResidentTraining(split, division, (), PLAIN, 0, Process(0, 1, CPU))
    assert [len(images) for images in batches.calibration(2)] == [256, 256]


NORMALIZATIONS = {
    # 51 / 255 is 0.2 and 255 / 255 is 1.
    "none": ([0.2, 0.2, 0.2], [1.0, 1.0, 1.0]),
    "dataset": ([-0.6, -0.4, -0.5], [1.0, 1.2, 7.5]),
    "imagenet": (
        [(0.2 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0.2 - 0.406) / 0.225],
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225],
    ),
    "explicit": ([2 / 9, -0.4, 4.0], [2.0, 2.8, 36.0]),
    "shared": ([-1.2, -1.2, -1.2], [2.0, 2.0, 2.0]),
}
CHOICES = {
    "explicit": {"mean": [0.1, 0.3, 0.1], "std": [0.45, 0.25, 0.025]},
    "shared": {"mean": [0.5], "std": [0.25]},
}


@pytest.mark.parametrize("choice", NORMALIZATIONS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_images_are_normalized_channel_by_channel(make_recipe, choice, channels_last):
    images = torch.full((8, 3, 6, 4), 51, dtype=torch.uint8)
    images[:, :, 0] = 255
    split = ArraySplit(images, torch.zeros(8, dtype=torch.int64))
    own = Normalization((0.5, 0.4, 0.25), (0.5, 0.5, 0.1))
    recipe = make_recipe(normalize=CHOICES.get(choice, choice), channels_last=channels_last)
    data = make_data(Splits(split, split, 2, own), recipe, (3, 6, 4), Process(0, 1, CPU))
    dark, bright = NORMALIZATIONS[choice]
    for batch in (next(data.training.epoch(0, 0))[0], next(iter(data.test))):
        assert batch.images.dtype is torch.float32
        assert batch.images.shape[1:] == (3, 6, 4)
        assert batch.images.is_contiguous(memory_format=torch.channels_last) is channels_last
        assert batch.images.is_contiguous() is not channels_last
        for channel in range(3):
            assert batch.images[:, channel, 0].unique().item() == pytest.approx(bright[channel])
            assert batch.images[:, channel, 1:].unique().item() == pytest.approx(dark[channel])


def test_black_that_moves_in_is_black_before_it_is_normalized():
    split = ArraySplit(torch.full((8, 1, 4, 4), 255, dtype=torch.uint8), torch.arange(8))
    normalizer = Normalizer(Normalization((0.5,), (0.25,)), False, CPU)
    batches = ResidentTraining(
        split, Division(8, 8), ("pad_crop_3",), normalizer, 0, Process(0, 1, CPU)
    )
    values = next(batches.epoch(0, 0))[0].images.unique()
    torch.testing.assert_close(values, torch.tensor([-2.0, 2.0]))


@pytest.mark.parametrize("batch_size", [1, 7, 100])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_evaluation_covers_each_image_once_over_processes(processes, batch_size):
    split = numbered_split(20)
    seen = []
    for index in range(processes):
        batches = ResidentEvaluation(split, batch_size, PLAIN, Process(index, processes, CPU))
        assert batches.num_images == 20
        share = list(batches)
        assert len(share) == math.ceil(len(range(index, 20, processes)) / batch_size)
        for batch in share:
            torch.testing.assert_close(batch.images, split.images[batch.labels] / 255)
            seen += batch.labels.tolist()
    assert sorted(seen) == list(range(20))


def test_evaluation_can_be_repeated_and_leaves_processes_without_images():
    split = numbered_split(2)
    batches = ResidentEvaluation(split, 1, PLAIN, Process(1, 2, CPU))
    assert [batch.labels.tolist() for batch in [*batches, *batches]] == [[1], [1]]
    assert list(ResidentEvaluation(split, 1, PLAIN, Process(2, 3, CPU))) == []
