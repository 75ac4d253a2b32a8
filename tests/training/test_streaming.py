"""Images decoded from files: what is random depends on seed, epoch and image alone."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from qcli.errors import DataError
from qcli.training.batches import Normalizer, Process
from qcli.training.division import Division
from qcli.training.keyed import derive_seed
from qcli.training.splits import ArraySplit
from qcli.training.streaming import StreamedEvaluation, StreamedTraining
from qcli.training.transforms import evaluation_transform, training_transform
from qcli_datasets.image_files import ImageFiles

CPU = torch.device("cpu")
PLAIN = Normalizer(None, False, CPU)
COUNT = 15
SIZE = (12, 12)
AUGMENTS = {
    "rrc": ["rrc", "flip"],
    "rrc_sat": ["rrc_sat", "flip"],
    "resize_crop": ["resize_crop", "flip"],
    "fbresnet": ["fbresnet"],
    "torchvision": [{"name": "RandomCrop", "size": 12}, {"name": "RandAugment"}],
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Images of several sizes and color modes; the label is the number."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    names = [f"{number}.{'jpg' if number % 2 else 'png'}" for number in range(COUNT)]
    for number, name in enumerate(names):
        pixels = draw.integers(0, 256, (14 + number, 30 - number, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        image.convert("L" if number % 5 == 0 else "RGB").save(folder / name)
    return ImageFiles(folder, names, range(COUNT))


def training(
    photos, *, index=0, processes=1, accumulate=1, workers=0, augment=("fbresnet",), seed=3
):
    division = Division(COUNT, 6, accumulate, False, processes)
    transform = training_transform(augment, (3, *SIZE))
    process = Process(index, processes, CPU)
    return StreamedTraining(photos, division, transform, PLAIN, seed, workers, process)


def join_steps(batches_of_processes):
    """Return for each step the images and labels over micro-batches and processes."""
    steps = []
    for several in zip(*batches_of_processes, strict=True):
        parts = [part for micro in zip(*several, strict=True) for part in micro]
        images, labels = [part.images for part in parts], [part.labels for part in parts]
        steps.append((torch.cat(images), torch.cat(labels)))
    return steps


def epoch_of(photos, epoch=1, first_step=0, **options):
    return join_steps([training(photos, **options).epoch(epoch, first_step)])


def same(steps, others):
    return all(
        torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
        for one, other in zip(steps, others, strict=True)
    )


@pytest.mark.parametrize("name", AUGMENTS)
def test_worker_processes_change_nothing(photos, name):
    alone = epoch_of(photos, augment=AUGMENTS[name])
    assert [len(labels) for _, labels in alone] == [6, 6, 3]
    assert same(alone, epoch_of(photos, augment=AUGMENTS[name], workers=2))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("first_step", [1, 2, 3])
def test_starting_at_a_step_equals_skipping(photos, first_step, workers):
    alone = epoch_of(photos)[first_step:]
    started = epoch_of(photos, first_step=first_step, workers=workers)
    assert len(started) == 3 - first_step
    assert same(alone, started)


@pytest.mark.parametrize(("processes", "accumulate"), [(1, 3), (2, 1), (3, 1)])
def test_processes_and_micro_batches_hold_the_batch_of_one_process(photos, processes, accumulate):
    alone = epoch_of(photos)
    together = join_steps(
        training(photos, index=index, processes=processes, accumulate=accumulate).epoch(1, 0)
        for index in range(processes)
    )
    # 3 images are left: too few for several parts.
    assert same(alone[:2], together)


def test_weights_are_those_of_the_division(photos):
    steps = list(training(photos, processes=2).epoch(0, 0))
    assert [[batch.weight for batch in step] for step in steps] == [[1.0], [1.0]]
    steps = list(training(photos, accumulate=3).epoch(0, 0))
    assert [[batch.weight for batch in step] for step in steps] == [[pytest.approx(1 / 3)] * 3] * 2


@pytest.mark.parametrize("workers", [0, 1])
def test_each_image_appears_once_in_an_epoch_and_anew_in_the_next(photos, workers):
    batches = training(photos, workers=workers)
    one, two, again = (join_steps([batches.epoch(epoch, 0)]) for epoch in (0, 1, 0))
    for steps in (one, two):
        labels = torch.cat([labels for _, labels in steps])
        assert sorted(labels.tolist()) == list(range(COUNT))
    assert same(one, again)
    first, second = (dict(images_by_label(steps)) for steps in (one, two))
    assert all(not torch.equal(first[label], second[label]) for label in range(COUNT))


def images_by_label(steps):
    for images, labels in steps:
        yield from zip(labels.tolist(), images, strict=True)


def test_another_seed_gives_other_images(photos):
    one, two = (dict(images_by_label(epoch_of(photos, seed=seed))) for seed in (3, 4))
    assert all(not torch.equal(one[label], two[label]) for label in range(COUNT))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_that_is_given_up_leaves_nothing_behind(photos, workers):
    batches = training(photos, workers=workers)
    next(batches.epoch(5, 0))
    assert same(join_steps([batches.epoch(1, 0)]), epoch_of(photos))


def test_decoding_leaves_random_streams_alone(photos, monkeypatch):
    """Dropout draws from them, and workers must not change it."""

    def refuse(seed):
        raise AssertionError("GPUs are seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed", refuse)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    batches = training(photos).epoch(0, 0)
    next(batches)
    before = torch.get_rng_state()
    next(batches)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("workers", [0, 2])
def test_calibration_is_alike_in_every_process(photos, count, workers):
    expected = [images for images, _ in epoch_of(photos, epoch=0)][:count]
    for index in (0, 1):
        batches = training(photos, index=index, processes=2, workers=workers)
        found = list(batches.calibration(count))
        assert len(found) == count
        assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def test_calibration_ends_with_the_last_whole_batch(photos):
    assert [len(images) for images in training(photos).calibration(9)] == [6, 6]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_evaluation_covers_each_image_once_over_processes(photos, processes, workers):
    transform = evaluation_transform(SIZE, None)
    seen = []
    for index in range(processes):
        process = Process(index, processes, CPU)
        batches = StreamedEvaluation(photos, 4, transform, PLAIN, workers, process)
        assert batches.num_images == COUNT
        for batch in batches:
            assert len(batch.labels) <= 4
            for image, label in zip(batch.images, batch.labels.tolist(), strict=True):
                expected = transform(photos[label][0]) / 255
                torch.testing.assert_close(image, expected, rtol=1e-6, atol=0)
                seen.append(label)
    assert sorted(seen) == list(range(COUNT))


def test_evaluation_can_be_repeated(photos):
    process = Process(0, 1, CPU)
    transform = evaluation_transform(SIZE, None)
    batches = StreamedEvaluation(photos, 4, transform, PLAIN, 1, process)
    one, two = (torch.cat([batch.labels for batch in batches]) for _ in range(2))
    assert one.tolist() == two.tolist() == list(range(COUNT))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_file_is_named_in_one_line(photos, tmp_path, workers):
    (tmp_path / "good.png").write_bytes((photos.folder / "0.png").read_bytes())
    (tmp_path / "cut.png").write_bytes((photos.folder / "2.png").read_bytes()[:300])
    split = ImageFiles(tmp_path, ["good.png", "cut.png"], [0, 1])
    transform = evaluation_transform(SIZE, None)
    batches = StreamedEvaluation(split, 1, transform, PLAIN, workers, Process(0, 1, CPU))
    seen = iter(batches)
    assert next(seen).labels.tolist() == [0]
    with pytest.raises(DataError) as caught:
        next(seen)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'cut.png'}: cannot be decoded as an image: ")
    assert text.endswith("; copy the file again, or delete it")
    assert "\n" not in text


@pytest.mark.parametrize("workers", [0, 1])
def test_training_names_a_missing_file(photos, tmp_path, workers):
    split = ImageFiles(tmp_path, ["gone.jpg"] * COUNT, range(COUNT))
    with pytest.raises(DataError, match=r"gone\.jpg: cannot be decoded as an image: .*No such"):
        next(training(split, workers=workers).epoch(0, 0))


def in_memory(count=COUNT, channels=1):
    images = torch.randint(256, (count, channels, *SIZE), dtype=torch.uint8)
    return ArraySplit(images, torch.arange(count))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("first_step", [0, 2])
def test_images_in_memory_are_transformed_one_by_one(workers, first_step):
    split = in_memory()
    division = Division(COUNT, 6, 1, False, 1)
    items = [{"name": "RandomRotation", "degrees": 30}, "pad_crop_1"]
    transform = training_transform(items, (1, *SIZE), in_memory=True)
    make = partial(StreamedTraining, split, division, transform, PLAIN, 3)
    alone = join_steps([make(0, Process(0, 1, CPU)).epoch(1, 0)])
    started = join_steps([make(workers, Process(0, 1, CPU)).epoch(1, first_step)])
    assert same(alone[first_step:], started)
    assert len(started) == 3 - first_step
    for label, image in images_by_label(alone):
        torch.manual_seed(derive_seed(3, 1, label))
        expected = v2.RandomCrop(12, 1)(v2.RandomRotation(30)(split.images[label]))
        torch.testing.assert_close(image, expected / 255, rtol=1e-6, atol=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_too_small_for_a_crop_is_told_in_one_line(photos, workers):
    division = Division(COUNT, 6, 1, False, 1)
    transform = training_transform([{"name": "RandomCrop", "size": 20}], (3, 20, 20))
    batches = StreamedTraining(photos, division, transform, PLAIN, 3, workers, Process(0, 1, CPU))
    with pytest.raises(DataError) as caught:
        list(batches.epoch(0, 0))
    text = str(caught.value)
    assert re.match(r"image \d+, of \d+x\d+ pixels, cannot be augmented: Required crop", text)
    assert "\n" not in text


def test_a_test_image_that_does_not_fit_is_not_said_to_be_augmented(photos):
    crop = v2.RandomCrop(8, 90, padding_mode="symmetric")
    transform = v2.Compose([v2.PILToTensor(), crop])
    batches = StreamedEvaluation(photos, 4, transform, PLAIN, 0, Process(0, 1, CPU))
    with pytest.raises(DataError) as caught:
        next(iter(batches))
    text = str(caught.value)
    assert text.startswith("image 0, of 30x14 pixels, cannot be resized and cropped: ")
    assert text.endswith("; change evaluation_resize, or leave the image out")
    assert "\n" not in text


@pytest.mark.parametrize("channels_last", [False, True])
def test_images_are_normalized_and_laid_out_as_asked(photos, channels_last):
    transform = evaluation_transform(SIZE, None)
    normalizer = Normalizer(None, channels_last, CPU)
    batches = StreamedEvaluation(photos, COUNT, transform, normalizer, 0, Process(0, 1, CPU))
    (batch,) = batches
    assert batch.images.dtype is torch.float32
    assert batch.images.is_contiguous(memory_format=torch.channels_last) is channels_last
    expected = torch.stack([transform(photos[index][0]) for index in range(COUNT)])
    torch.testing.assert_close(batch.images, expected / 255, rtol=1e-6, atol=0)
