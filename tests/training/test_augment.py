"""Augmentation by one gather, against loops over images and pixels."""

import itertools

import pytest
import torch

from qcli.training.augment import (
    add_frame,
    draw_epoch,
    map_pixels,
    parse_augmentations,
    runs_on_device,
)

COUNT, HEIGHT, WIDTH, CHANNELS = 40, 5, 7, 2


def random_images():
    """Return uint8 [N, H, W, C] without black, so that what moves in can be told."""
    generator = torch.Generator().manual_seed(0)
    shape = (COUNT, HEIGHT, WIDTH, CHANNELS)
    return torch.randint(1, 256, shape, dtype=torch.uint8, generator=generator)


def augment(images, names, draws):
    augmentations = parse_augmentations(names)
    pixels = map_pixels(augmentations, draws, *images.shape[1:3])
    return pixels.pick(add_frame(images), torch.arange(len(images)))


def draw(names, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return draw_epoch(parse_augmentations(names), COUNT, generator)


def flip_naively(image, coin):
    result = torch.empty_like(image)
    for row, column in itertools.product(range(HEIGHT), range(WIDTH)):
        result[row, column] = image[row, WIDTH - 1 - column if coin else column]
    return result


def pad_and_crop_naively(image, down, right, reach):
    """Pad with black on all sides, then cut a window whose corner is at reach + offset."""
    padded = torch.zeros(HEIGHT + 2 * reach, WIDTH + 2 * reach, CHANNELS, dtype=torch.uint8)
    for row, column in itertools.product(range(HEIGHT), range(WIDTH)):
        padded[row + reach, column + reach] = image[row, column]
    return padded[reach + down :, reach + right :][:HEIGHT, :WIDTH]


def shift_naively(image, down, right):
    """Take each pixel from the place beside it, or from the nearest one of the edge."""
    result = torch.empty_like(image)
    for row, column in itertools.product(range(HEIGHT), range(WIDTH)):
        from_row = min(max(row + down, 0), HEIGHT - 1)
        from_column = min(max(column + right, 0), WIDTH - 1)
        result[row, column] = image[from_row, from_column]
    return result


def augment_naively(image, name, drawn):
    if name == "flip":
        return flip_naively(image, int(drawn))
    down, right = drawn.tolist()
    if name.startswith("pad_crop"):
        return pad_and_crop_naively(image, down, right, int(name.removeprefix("pad_crop_")))
    return shift_naively(image, down, right)


@pytest.mark.parametrize(
    "names",
    [
        ["flip"],
        ["pad_crop_1"],
        ["pad_crop_4"],
        ["pad_crop_9"],
        ["shift_1"],
        ["shift_4"],
        ["shift_9"],
        ["flip", "pad_crop_2"],
        ["pad_crop_2", "flip"],
        ["flip", "shift_2"],
        ["shift_2", "flip"],
        ["shift_2", "pad_crop_2"],
        ["pad_crop_2", "shift_2"],
        ["pad_crop_1", "pad_crop_2"],
        ["shift_3", "flip", "pad_crop_2"],
    ],
    ids="-".join,
)
def test_images_are_those_of_loops_over_pixels(names):
    images, draws = random_images(), draw(names)
    augmented = augment(images, names, draws)
    assert augmented.dtype is torch.uint8
    for number, image in enumerate(images):
        expected = image
        for name, drawn in zip(names, draws, strict=True):
            expected = augment_naively(expected, name, drawn[number])
        assert torch.equal(augmented[number], expected)


@pytest.mark.parametrize("other", ["pad_crop_2", "shift_2"])
def test_the_order_of_the_recipe_counts(other):
    images, (coins, offsets) = random_images(), draw(["flip", other])
    one = augment(images, ["flip", other], [coins, offsets])
    two = augment(images, [other, "flip"], [offsets, coins])
    differ = torch.tensor([not torch.equal(a, b) for a, b in zip(one, two, strict=True)])
    # The mirror image of a shift to the right is a shift to the left.
    assert torch.equal(differ, coins.bool() & (offsets[:, 1] != 0))
    assert bool(differ.any())


@pytest.mark.parametrize("name", ["pad_crop_3", "shift_3", "flip"])
def test_a_draw_of_zero_is_the_identity(name):
    images = random_images()
    nothing = torch.zeros_like(draw([name])[0])
    assert torch.equal(augment(images, [name], [nothing]), images)


def test_black_moves_in_from_outside_the_image():
    images = random_images()
    offsets = torch.tensor([[2, -3]]).expand(COUNT, 2)
    moved = augment(images, ["pad_crop_3"], [offsets])
    assert torch.equal(moved[:, :-2, 3:], images[:, 2:, :-3])
    assert int(moved[:, -2:].sum()) == 0
    assert int(moved[:, :, :3].sum()) == 0


def test_the_batch_takes_the_images_that_are_asked_for():
    images = random_images()
    indices = torch.tensor([7, 7, 0])
    pixels = map_pixels(parse_augmentations(["flip"]), [torch.tensor([0, 1, 1])], HEIGHT, WIDTH)
    picked = pixels.pick(add_frame(images), indices)
    assert torch.equal(picked, torch.stack([images[7], images[7].flip(1), images[0].flip(1)]))


@pytest.mark.parametrize(("name", "reach"), [("pad_crop_4", 4), ("shift_2", 2)])
def test_offsets_cover_their_range_evenly_and_independently(name, reach):
    count = 20_000
    generator = torch.Generator().manual_seed(5)
    (offsets,) = draw_epoch(parse_augmentations([name]), count, generator)
    assert offsets.shape == (count, 2)
    pairs, counts = torch.unique(offsets, dim=0, return_counts=True)
    places = range(-reach, reach + 1)
    assert pairs.tolist() == [list(pair) for pair in itertools.product(places, places)]
    # Five standard deviations of a binomial count.
    expected = count / len(pairs)
    assert float((counts - expected).abs().max()) < 5 * expected**0.5


def test_coins_are_fair():
    generator = torch.Generator().manual_seed(5)
    (coins,) = draw_epoch(parse_augmentations(["flip"]), 20_000, generator)
    assert set(coins.tolist()) == {0, 1}
    assert abs(int(coins.sum()) - 10_000) < 5 * (20_000 / 4) ** 0.5


@pytest.mark.parametrize(
    ("augment", "on_device"),
    [
        ([], True),
        (["flip", "pad_crop_4", "shift_29"], True),
        (["flip", "rrc"], False),
        (["fbresnet"], False),
        (["flip", {"name": "RandomVerticalFlip", "p": 0.5}], False),
    ],
    ids=str,
)
def test_what_only_moves_pixels_runs_on_the_device(augment, on_device):
    assert runs_on_device(augment) is on_device
