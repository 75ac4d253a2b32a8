"""PCA lighting against its formula, with a draw that is known."""

import pytest
import torch
from torchvision.transforms import v2

from qcli.training.lighting import Lighting

# A draw for each principal component, and what it adds to red, green and blue of images in [0, 1],
# for a standard deviation of 0.1.
DRAWS = {
    (1.0, 0.0, 0.0): (-0.012343125, -0.0126324, -0.0126933),
    (0.0, 1.0, 0.0): (0.001352096, -0.00000846, -0.001306224),
    (0.0, 0.0, 1.0): (0.000180405, -0.0003663, 0.000189135),
    (2.0, -1.0, 0.5): (
        2 * -0.012343125 - 0.001352096 + 0.5 * 0.000180405,
        2 * -0.0126324 + 0.00000846 + 0.5 * -0.0003663,
        2 * -0.0126933 + 0.001306224 + 0.5 * 0.000189135,
    ),
}


@pytest.fixture
def fix_draw(monkeypatch):
    def fix(draw):
        monkeypatch.setattr(torch, "randn", lambda size: torch.tensor(draw)[:size])

    return fix


def random_image():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (3, 8, 8), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("std", [0.1, 1.0])
def test_the_color_is_that_of_the_formula(fix_draw, draw, std):
    fix_draw(draw)
    color = Lighting(std).make_params([])["color"]
    expected = torch.tensor(DRAWS[draw])[:, None, None] * std / 0.1
    torch.testing.assert_close(color, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("draw", DRAWS)
def test_every_pixel_gets_the_color_rounded(fix_draw, draw):
    fix_draw(draw)
    image = random_image() // 2 + 64
    lit = Lighting(1.0)(image)
    assert lit.dtype is torch.uint8
    for channel, added in enumerate(DRAWS[draw]):
        sums = [round(value + 2550 * added) for value in image[channel].flatten().tolist()]
        assert lit[channel].flatten().tolist() == [min(max(value, 0), 255) for value in sums]


@pytest.mark.parametrize(("draw", "limit"), [((-50.0, 0.0, 0.0), 255), ((50.0, 0.0, 0.0), 0)])
def test_values_are_clipped(fix_draw, draw, limit):
    fix_draw(draw)
    assert Lighting(1.0)(random_image()).unique().tolist() == [limit]


def test_a_deviation_of_zero_is_the_identity():
    image = random_image()
    assert torch.equal(Lighting(0.0)(image), image)


def test_every_image_is_lit_anew():
    torch.manual_seed(0)
    image = random_image()
    assert not torch.equal(Lighting(1.0)(image), Lighting(1.0)(image))


def test_amounts_have_the_deviation_that_is_asked_for():
    torch.manual_seed(0)
    colors = torch.stack([Lighting(0.1).make_params([])["color"].flatten() for _ in range(4000)])
    # The components are independent: variances add up.
    axes = torch.tensor([DRAWS[tuple(axis)] for axis in torch.eye(3).tolist()])
    expected = axes.square().sum(0).sqrt()
    torch.testing.assert_close(colors.std(0), expected, rtol=0.05, atol=0)
    assert float(colors.mean(0).abs().max()) < 0.001


def test_it_works_inside_a_composition():
    steps = v2.Compose([Lighting(0.1), v2.RandomHorizontalFlip(1.0), Lighting(0.0)])
    assert steps(random_image()).shape == (3, 8, 8)
