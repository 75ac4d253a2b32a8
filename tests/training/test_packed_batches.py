"""Batches of packed photographs: what is random depends on seed, epoch and place alone."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from qcli.errors import DataError
from qcli.training.augment import runs_in_threads
from qcli.training.batches import Normalizer, Process
from qcli.training.division import Division
from qcli.training.keyed import keyed_generator
from qcli.training.pack import Source, read_pack
from qcli.training.packed_batches import PackedEvaluation, PackedTraining
from qcli.training.packing import pack_splits
from qcli.training.splits import Splits
from qcli.training.streaming import StreamedEvaluation, StreamedTraining
from qcli.training.transforms import evaluation_transform, training_transform
from qcli_datasets.image_files import ImageFiles

CPU = torch.device("cpu")
PLAIN = Normalizer(None, False, CPU)
COUNT = 15
SIZE = (12, 10)
SIDE = 14
AUGMENTS = [["rrc", "flip"], ["rrc_sat"], ["resize_crop", "flip"], ["squash_center"], ["fbresnet"]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Images of several sizes and color modes, none below SIDE; the label is the number."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    names = [f"{number}.{'jpg' if number % 2 else 'png'}" for number in range(COUNT)]
    for number, name in enumerate(names):
        pixels = draw.integers(0, 256, (15 + number, 30 - number, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        image.convert("L" if number % 5 == 0 else "RGB").save(folder / name)
    return ImageFiles(folder, names, range(COUNT))


@pytest.fixture(scope="module")
def packed(photos, tmp_path_factory):
    """The photographs as they are, raw: none is larger."""
    return pack(photos, tmp_path_factory.mktemp("packed") / "pack", 1000)


def pack(photos, path, size):
    source = Source("folder", {}, "", size, None)
    splits = Splits(photos, photos, COUNT)
    pack_splits(splits, source, path, 0, lambda done, total: None, images_per_shard=4)
    return read_pack(path, "folder", {}, 3).train


def training(
    packed, *, index=0, processes=1, accumulate=1, workers=0, augment=("fbresnet",), seed=3
):
    division = Division(COUNT, 6, accumulate, False, processes)
    process = Process(index, processes, CPU)
    return PackedTraining(
        packed, division, augment, SIZE, "bilinear", PLAIN, seed, workers, process
    )


def join_steps(batches_of_processes):
    """Return for each step the images and labels over micro-batches and processes."""
    steps = []
    for several in zip(*batches_of_processes, strict=True):
        parts = [part for micro in zip(*several, strict=True) for part in micro]
        images, labels = [part.images for part in parts], [part.labels for part in parts]
        steps.append((torch.cat(images), torch.cat(labels)))
    return steps


def epoch_of(packed, epoch=1, first_step=0, **options):
    return join_steps([training(packed, **options).epoch(epoch, first_step)])


def same(steps, others):
    return all(
        torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
        for one, other in zip(steps, others, strict=True)
    )


def images_by_label(steps):
    for images, labels in steps:
        yield from zip(labels.tolist(), images, strict=True)


@pytest.mark.parametrize("augment", AUGMENTS)
def test_threads_change_nothing(packed, augment):
    alone = epoch_of(packed, augment=augment)
    assert [len(labels) for _, labels in alone] == [6, 6, 3]
    assert alone[0][0].shape == (6, 3, *SIZE)
    for workers in (1, 4):
        assert same(alone, epoch_of(packed, augment=augment, workers=workers))


@pytest.mark.parametrize("workers", [0, 4])
@pytest.mark.parametrize("first_step", [1, 2, 3])
def test_starting_at_a_step_equals_skipping(packed, first_step, workers):
    started = epoch_of(packed, first_step=first_step, workers=workers)
    assert len(started) == 3 - first_step
    assert same(epoch_of(packed)[first_step:], started)


@pytest.mark.parametrize(("processes", "accumulate"), [(1, 3), (2, 1), (3, 1)])
def test_processes_and_micro_batches_hold_the_batch_of_one_process(packed, processes, accumulate):
    together = join_steps(
        training(packed, index=index, processes=processes, accumulate=accumulate).epoch(1, 0)
        for index in range(processes)
    )
    # 3 images are left: too few for several parts.
    assert same(epoch_of(packed)[:2], together)


def test_weights_are_those_of_the_division(packed):
    steps = list(training(packed, accumulate=3).epoch(0, 0))
    assert [[batch.weight for batch in step] for step in steps] == [[pytest.approx(1 / 3)] * 3] * 2


@pytest.mark.parametrize("workers", [0, 2])
def test_each_image_appears_once_in_an_epoch_and_anew_in_the_next(packed, workers):
    batches = training(packed, workers=workers)
    one, two, again = (join_steps([batches.epoch(epoch, 0)]) for epoch in (0, 1, 0))
    for steps in (one, two):
        labels = torch.cat([labels for _, labels in steps])
        assert sorted(labels.tolist()) == list(range(COUNT))
    assert same(one, again)
    first, second = (dict(images_by_label(steps)) for steps in (one, two))
    assert all(not torch.equal(first[label], second[label]) for label in range(COUNT))
    other = dict(images_by_label(epoch_of(packed, 0, seed=4)))
    assert all(not torch.equal(first[label], other[label]) for label in range(COUNT))


def test_the_order_is_that_of_photographs_that_are_not_packed(photos, packed):
    division = Division(COUNT, 6, 1, False, 1)
    transform = training_transform(["rrc"], (3, *SIZE))
    process = Process(0, 1, CPU)
    streamed = StreamedTraining(photos, division, transform, PLAIN, 3, 0, process)
    expected = [labels.tolist() for _, labels in join_steps([streamed.epoch(2, 0)])]
    assert [labels.tolist() for _, labels in epoch_of(packed, 2)] == expected


@pytest.mark.parametrize(("augment", "mode"), [(["rrc", "flip"], "bilinear"), (["rrc"], "bicubic")])
def test_boxes_are_resized_as_torchvision_does(packed, photos, augment, mode):
    division = Division(COUNT, 6, 1, False, 1)
    process = Process(0, 1, CPU)
    batches = PackedTraining(packed, division, augment, SIZE, mode, PLAIN, 3, 2, process)
    steps = join_steps([batches.epoch(1, 0)])
    order = torch.randperm(COUNT, generator=keyed_generator(3, 1, "epoch")).tolist()
    found = dict(images_by_label(steps))
    cuts, coins = drawn_cuts(batches, order)
    for place, label in enumerate(order):
        image = functional.pil_to_tensor(photos[label][0])
        expected = functional.resized_crop(
            image, *cuts[place][:4], list(SIZE), v2.InterpolationMode(mode), antialias=True
        )
        if coins[place]:
            expected = functional.horizontal_flip(expected)
        torch.testing.assert_close(found[label], expected / 255, rtol=1e-6, atol=0)


def drawn_cuts(batches, order):
    """Draw anew what the second epoch draws: the order, coins where there is a flip, boxes."""
    generator = keyed_generator(3, 1, "epoch")
    assert torch.randperm(COUNT, generator=generator).tolist() == order
    coins = torch.zeros(COUNT, dtype=torch.int64)
    for coloring in batches.augmentation.colorings:
        coins = coloring.draw(COUNT, generator)
    draws = torch.rand(COUNT, 22, generator=generator, dtype=torch.float64)
    return batches.augmentation.make_cuts(batches.split.sizes[order], draws).tolist(), coins


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_that_is_given_up_leaves_nothing_behind(packed, workers):
    batches = training(packed, workers=workers)
    next(batches.epoch(5, 0))
    assert same(join_steps([batches.epoch(1, 0)]), epoch_of(packed))


def test_random_streams_are_left_alone(packed):
    before = torch.get_rng_state()
    epoch_of(packed, workers=2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("count", [1, 9])
def test_calibration_is_alike_in_every_process(packed, count):
    expected = [images for images, _ in epoch_of(packed, epoch=0)][: min(count, 2)]
    for index in (0, 1):
        found = list(training(packed, index=index, processes=2, workers=2).calibration(count))
        assert len(found) == len(expected)
        assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def evaluation(packed, *, index=0, processes=1, workers=0, crop="resize_center", mode="bilinear"):
    process = Process(index, processes, CPU)
    return PackedEvaluation(packed, 4, SIZE, SIDE, crop, mode, PLAIN, workers, process)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop", ["resize_center", "squash_center"])
@pytest.mark.parametrize(("processes", "workers"), [(1, 0), (2, 2), (3, 1)])
def test_evaluation_is_that_of_photographs_that_are_not_packed(
    photos, packed, processes, workers, crop, mode
):
    transform = evaluation_transform(SIZE, SIDE, crop, mode)
    for index in range(processes):
        process = Process(index, processes, CPU)
        expected = StreamedEvaluation(photos, 4, transform, PLAIN, 0, process)
        found = evaluation(
            packed, index=index, processes=processes, workers=workers, crop=crop, mode=mode
        )
        assert found.num_images == COUNT
        for one, other in zip(expected, found, strict=True):
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.labels, other.labels)


def test_packing_at_the_side_of_evaluation_changes_nothing(photos, tmp_path):
    small = pack(photos, tmp_path / "small", SIDE)
    assert small.sizes.min(1).values.tolist() == [SIDE] * COUNT
    transform = evaluation_transform(SIZE, SIDE)
    expected = StreamedEvaluation(photos, 4, transform, PLAIN, 0, Process(0, 1, CPU))
    for one, other in zip(expected, evaluation(small, workers=2), strict=True):
        assert torch.equal(one.images, other.images)


def test_smaller_packs_than_evaluation_takes_are_refused(photos, tmp_path):
    small = pack(photos, tmp_path / "small", SIDE - 1)
    text = (
        "images were packed at 13 pixels, and test images are resized to 14; use --set "
        "evaluation_resize=13, or pack the data set again with --size 14"
    )
    with pytest.raises(DataError, match=text):
        evaluation(small)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_ends_the_epoch_in_one_line(photos, tmp_path, workers):
    source = Source("folder", {}, "", SIDE, 90)
    pack_splits(Splits(photos, photos, COUNT), source, tmp_path / "p", 0, lambda *_: None)
    path = tmp_path / "p" / "train-00000.safetensors"
    content = path.read_bytes()
    place = content.rindex(b"\xff\xd8\xff")
    path.write_bytes(content[:place] + bytes(100) + content[place + 100 :])
    packed = read_pack(tmp_path / "p", "folder", {}, 3).train
    with pytest.raises(DataError) as caught:
        epoch_of(packed, workers=workers)
    assert str(caught.value).startswith(f"{path}: the image at byte ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("augment", "expected"),
    [
        *((augment, True) for augment in AUGMENTS),
        ([], False),
        (["flip"], False),
        (["flip", "rrc"], False),
        (["rrc", "rrc"], False),
        (["rrc", "shift_2"], False),
        ([{"name": "RandAugment"}], False),
        (["rrc", {"name": "RandAugment"}], False),
    ],
)
def test_what_threads_can_do(augment, expected):
    assert runs_in_threads(augment) is expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("augment", [["rrc", "flip"], ["fbresnet"]])
def test_a_gpu_gets_the_images_of_the_cpu(packed, augment):
    device = torch.device("cuda")
    division = Division(COUNT, 6, 1, False, 1)
    normalizer, process = Normalizer(None, False, device), Process(0, 1, device)
    batches = PackedTraining(packed, division, augment, SIZE, "bilinear", normalizer, 3, 2, process)
    for one, other in zip(epoch_of(packed, augment=augment), batches.epoch(1, 0), strict=True):
        difference = (one[0] - other[0].images.cpu()).abs()
        # Colors are cut to whole numbers, and a GPU rounds sums otherwise.
        assert difference.max() <= 3.01 / 255
        assert (difference > 1e-6).float().mean() < 0.01
        assert torch.equal(one[1], other[0].labels.cpu())
