"""Cuts of photographs, against torchvision's transforms."""

import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import v2

from qcli.training.cuts import DRAWS, center_crop, random_resized_crop, resize_crop
from qcli.training.packed_batches import make_packed_augmentation

COUNT = 3000
# The last two are so long that most, or all, boxes of an allowed ratio do not fit.
SIZES = [(256, 341), (300, 256), (256, 256), (60, 200), (20, 300)]


def draw(seed, count=COUNT):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, DRAWS, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("least", [0.08, 0.2])
@pytest.mark.parametrize("size", SIZES)
def test_boxes_are_drawn_as_torchvision_draws_them(size, least):
    cuts = random_resized_crop((24, 30), least)(torch.tensor([size] * COUNT), draw(1))
    transform = v2.RandomResizedCrop((24, 30), (least, 1.0))
    image = torch.zeros(3, *size, dtype=torch.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = [transform.make_params([image]) for _ in range(COUNT)]
    for column, name in enumerate(("top", "left", "height", "width")):
        expected = [params[name] for params in drawn]
        # Two samples of 3000 differ by 0.06 once in 30000 times.
        assert ks_2samp(cuts[:, column].tolist(), expected).statistic < 0.06, name
    top, left, height, width = cuts[:, :4].unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= size[0]).all()
    assert (left + width <= size[1]).all()
    assert cuts[:, 4:].unique(dim=0).tolist() == [[24, 30, 0, 0]]


def test_where_no_box_fits_the_largest_of_an_allowed_ratio_is_cut():
    """20 x 26.67: the ratio is 4/3 at most; (300 - 27) // 2 = 136."""
    draws = draw(0, 2)
    # Boxes of the whole area, 6000 pixels, and of the ratio 1: 77 x 77.
    draws[:, :10], draws[:, 10:20] = 1, 0.5
    cuts = random_resized_crop((8, 8), 0.08)(torch.tensor([(20, 300), (300, 20)]), draws)
    assert cuts[:, :4].tolist() == [[0, 136, 20, 27], [136, 0, 27, 20]]


def test_the_first_box_that_fits_is_taken():
    draws = draw(0, 1)
    draws[:, :10] = torch.tensor([[1.0, 1.0, *[0.0] * 8]])
    draws[:, 10:20] = torch.tensor([[0.0, 0.5, *[1.0] * 8]])
    draws[:, 20:] = 0.999
    cuts = random_resized_crop((8, 8), 0.25)(torch.tensor([(100, 100)]), draws)
    # Ratio 3/4 of 10000 pixels: 115 x 87, too tall. Ratio 1: all of it.
    assert cuts[0, :4].tolist() == [0, 0, 100, 100]


@pytest.mark.parametrize("size", [(20, 31), (31, 20), (40, 40), (12, 90)])
@pytest.mark.parametrize("squash", [False, True])
def test_center_crops_are_those_of_torchvision(size, squash):
    wanted, side = (12, 15), 18
    cuts = center_crop(wanted, side, squash)(torch.tensor([size]), draw(0, 1))
    top, left, height, width, *resized, y, x = cuts[0].tolist()
    assert (top, left, height, width) == (0, 0, *size)
    numbers = torch.arange(size[0] * size[1]).view(1, *size).float()
    shrunk = v2.Resize([side, side] if squash else side)(numbers)
    assert list(shrunk.shape[1:]) == resized
    expected = v2.CenterCrop(wanted)(shrunk)
    assert torch.equal(shrunk[:, y : y + 12, x : x + 15], expected)


def test_windows_are_cut_anywhere():
    cuts = resize_crop((12, 12), 14)(torch.tensor([(28, 42)] * 600), draw(2, 600))
    assert cuts[:, :6].unique(dim=0).tolist() == [[0, 0, 28, 42, 14, 21]]
    assert cuts[:, 6].unique().tolist() == [0, 1, 2]
    assert cuts[:, 7].unique().tolist() == list(range(10))
    # Each of 3 rows 200 times, give or take 4 standard deviations of 11.5.
    assert all(abs(count - 200) < 46 for count in cuts[:, 6].bincount().tolist())


def test_the_last_draw_stays_inside():
    draws = torch.full((1, DRAWS), 1 - 2**-53, dtype=torch.float64)
    cuts = resize_crop((12, 12), 14)(torch.tensor([(14, 15)]), draws)
    assert cuts[0, 6:].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("augment", "mode", "colorings"),
    [
        (["rrc", "flip"], "bilinear", 1),
        (["rrc_sat"], "bilinear", 0),
        (["fbresnet"], "bicubic", 3),
        (["squash_center", "flip", "flip"], "bilinear", 2),
    ],
)
def test_what_a_recipe_names(augment, mode, colorings):
    found = make_packed_augmentation(augment, (8, 8), "bilinear")
    assert found.interpolation.value == mode
    assert len(found.colorings) == colorings
