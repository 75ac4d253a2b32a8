"""An epoch over processes and micro-batches: nothing twice, nothing lost, means that stay means."""

import itertools
import re

import pytest
import torch

from qcli.errors import UsageError
from qcli.training.division import Division

WAYS = list(itertools.product([1, 2, 3], [1, 2, 4]))


def all_parts(division, step):
    """Return the parts of a step in order: for each micro-batch, those of all processes."""
    by_process = [division.parts(step, process) for process in range(division.num_processes)]
    return [part for micro in zip(*by_process, strict=True) for part in micro]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("num_images", [24, 100, 116, 120, 127])
@pytest.mark.parametrize(("processes", "accumulate"), WAYS)
def test_parts_tile_the_epoch_in_order(num_images, processes, accumulate, drop_last):
    division = Division(num_images, 24, accumulate, drop_last, processes)
    places = [
        place
        for step in range(division.num_steps)
        for part in all_parts(division, step)
        for place in range(part.start, part.stop)
    ]
    assert places == list(range(division.images_per_epoch))


@pytest.mark.parametrize(("processes", "accumulate"), WAYS)
def test_every_process_has_a_part_for_each_micro_batch(processes, accumulate):
    division = Division(127, 24, accumulate, False, processes)
    for step, process in itertools.product(range(division.num_steps), range(processes)):
        assert len(division.parts(step, process)) == accumulate


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize(("processes", "accumulate"), [*WAYS, (1, 8), (4, 2)])
def test_weighted_means_of_parts_make_the_mean_over_the_batch(processes, accumulate, step):
    division = Division(2 * 48 + 29, 48, accumulate, False, processes)
    assert division.num_steps == 3
    losses = torch.rand(
        division.num_images, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    sums = [
        sum(part.weight * losses[part.start : part.stop].mean() for part in parts)
        for parts in (division.parts(step, process) for process in range(processes))
    ]
    expected = losses[step * 48 : (step + 1) * 48].mean()
    torch.testing.assert_close(sum(sums) / processes, expected, rtol=1e-12, atol=0)


def test_parts_of_a_full_batch_weigh_alike():
    parts = all_parts(Division(96, 24, 4, False, 2), 1)
    assert [part.weight for part in parts] == [0.25] * 8
    assert [part.stop - part.start for part in parts] == [3] * 8


def test_parts_of_a_last_batch_differ_by_one_image_at_most():
    parts = all_parts(Division(24 + 19, 24, 2, False, 3), 1)
    assert sorted(part.stop - part.start for part in parts) == [3, 3, 3, 3, 3, 4]


@pytest.mark.parametrize(
    ("num_images", "drop_last", "steps", "used"),
    [
        (100, False, 10, 100),
        (100, True, 10, 100),
        (105, False, 11, 105),
        (105, True, 10, 100),
        (102, False, 11, 102),
        (101, False, 10, 100),
        (101, True, 10, 100),
        (2, False, 1, 2),
        (10, True, 1, 10),
    ],
)
def test_steps_of_one_process(num_images, drop_last, steps, used):
    division = Division(num_images, 10, drop_last=drop_last)
    assert (division.num_steps, division.images_per_epoch) == (steps, used)


@pytest.mark.parametrize(("rest", "kept"), [(11, False), (12, True), (13, True), (1, False)])
def test_a_last_batch_stays_where_every_part_has_two_images(rest, kept):
    division = Division(48 + rest, 24, 2, False, 3)
    assert division.num_steps == 2 + kept
    assert division.images_per_epoch == 48 + rest * kept
    sizes = [part.stop - part.start for part in all_parts(division, division.num_steps - 1)]
    assert min(sizes) >= 2


@pytest.mark.parametrize(
    ("batch_size", "processes", "accumulate", "nearest"),
    [(10, 3, 1, "9 or 12"), (10, 2, 2, "8 or 12"), (100, 1, 8, "96 or 104"), (3, 4, 1, "4")],
)
def test_batches_that_cannot_be_divided_name_the_nearest_that_can(
    batch_size, processes, accumulate, nearest
):
    text = (
        f"batch_size {batch_size} cannot be divided by {processes} processes "
        f"x accumulate {accumulate}; use --set batch_size={nearest}"
    )
    with pytest.raises(UsageError, match=f"^{re.escape(text)}$"):
        Division(1000, batch_size, accumulate, num_processes=processes)


@pytest.mark.parametrize(("num_images", "drop_last"), [(9, True), (1, False), (0, False)])
def test_too_few_images_for_one_step_are_refused(num_images, drop_last):
    text = f"the training set has {num_images} images, too few for one step of batch_size 10"
    with pytest.raises(UsageError, match=text):
        Division(num_images, 10, drop_last=drop_last)
