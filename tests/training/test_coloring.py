"""Flips and colors of batches, against torchvision image by image."""

import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from qcli.training.coloring import color_jitter, flip, jitter, light, random_flip, random_lighting
from qcli.training.lighting import Lighting

ADJUST = (
    functional.adjust_brightness,
    functional.adjust_contrast,
    functional.adjust_saturation,
)
ORDERS = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (6, 20, 30, 3), dtype=torch.uint8, generator=generator)


def channels_first(images):
    return images.permute(0, 3, 1, 2)


def test_jitter_is_that_of_torchvision(images):
    factors = 0.6 + 0.8 * torch.rand(6, 3, generator=torch.Generator().manual_seed(1))
    found = jitter(images, torch.cat([torch.tensor(ORDERS).float(), factors], dim=1))
    expected = channels_first(images).clone()
    for number, order in enumerate(ORDERS):
        for kind in order:
            expected[number] = ADJUST[kind](expected[number], float(factors[number, kind]))
    difference = (channels_first(found).int() - expected.int()).abs()
    # Sums that are rounded elsewhere are cut to another whole number now and then.
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.002
    assert (channels_first(images) != expected).float().mean() > 0.5


def test_jitter_is_drawn_as_torchvision_draws_it():
    draws = color_jitter(0.4).draw(6000, torch.Generator().manual_seed(0))
    transform = v2.ColorJitter(0.4, 0.4, 0.4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = [transform.make_params([]) for _ in range(2000)]
    for column, name in enumerate(("brightness", "contrast", "saturation")):
        expected = [params[f"{name}_factor"] for params in drawn]
        assert ks_2samp(draws[:, 3 + column].tolist(), expected).statistic < 0.06
    counts = draws[:, :3].long().unique(dim=0, return_counts=True)
    assert counts[0].tolist() == ORDERS
    # Each of 6 orders 1000 times, give or take 4 standard deviations of 29.
    assert all(abs(count - 1000) < 116 for count in counts[1].tolist())


def test_lighting_is_that_of_the_transform(images):
    colors = random_lighting(0.1).draw(6, torch.Generator().manual_seed(2))
    found = channels_first(light(images, colors))
    for number in range(6):
        params = {"color": colors[number][:, None, None]}
        expected = Lighting(0.1).transform(channels_first(images)[number], params)
        assert torch.equal(found[number], expected)


def test_lighting_is_drawn_as_the_transform_draws_it():
    colors = random_lighting(0.1).draw(3000, torch.Generator().manual_seed(0))
    transform = Lighting(0.1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected = [transform.make_params([])["color"].flatten() for _ in range(3000)]
    for channel in range(3):
        sample = [float(color[channel]) for color in expected]
        assert ks_2samp(colors[:, channel].tolist(), sample).statistic < 0.06


def test_images_are_mirrored(images):
    found = flip(images, torch.tensor([0, 1, 0, 0, 1, 1]))
    for number, is_mirrored in enumerate([0, 1, 0, 0, 1, 1]):
        image = channels_first(images)[number]
        expected = functional.horizontal_flip(image) if is_mirrored else image
        assert torch.equal(channels_first(found)[number], expected)
    coins = random_flip().draw(4000, torch.Generator().manual_seed(0))
    # Half of 4000, give or take 4 standard deviations of 31.6.
    assert abs(int(coins.sum()) - 2000) < 127
