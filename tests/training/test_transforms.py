"""What turns one image into what the network takes, against torchvision and known pixels."""

import inspect

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from qcli.errors import RecipeError
from qcli.recipe.checking import fill_defaults, find_faults, load_schema
from qcli.recipe.document import Document
from qcli.training.lighting import Lighting
from qcli.training.transforms import evaluation_transform, training_transform

SIZE = (12, 12)
SHAPE = (3, 12, 12)
AUGMENTS = {
    "rrc": ["rrc", "flip"],
    "rrc_sat": ["rrc_sat", "flip"],
    "resize_crop": ["resize_crop", "flip"],
    "squash_center": ["squash_center", "flip"],
    "fbresnet": ["fbresnet"],
}
BICUBIC = v2.InterpolationMode.BICUBIC
CORNERS = [(row, column) for row in range(9) for column in range(9)]
TRANSFORMS = load_schema("training")["$defs"]["transform"]
RULES = {
    rule["if"]["properties"]["name"]["const"]: rule["then"]
    for rule in TRANSFORMS["allOf"]
    if "properties" in rule["if"]
}


def photograph(height=37, width=53):
    draw = np.random.default_rng(0)
    return Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", AUGMENTS)
@pytest.mark.parametrize("size", [(12, 12), (9, 12), (40, 40)])
def test_every_training_image_becomes_bytes_of_the_right_size(name, size):
    transform = training_transform(AUGMENTS[name], (3, *size))
    for number in range(10):
        image = transform(photograph(14 + number, 30 - number))
        assert image.dtype is torch.uint8
        assert image.shape == (3, *size)


@pytest.mark.parametrize(
    ("size", "resize", "height"), [((224, 224), None, 256), ((227, 227), 256, 256), ((8, 8), 9, 9)]
)
def test_test_images_are_resized_by_the_shorter_side_and_cropped(size, resize, height):
    image = Image.new("RGB", (400, 300))
    resized = evaluation_transform(size, resize).transforms[1](v2.PILToTensor()(image))
    assert resized.shape == (3, height, int(height * 4 / 3))
    cropped = evaluation_transform(size, resize)(image)
    assert (cropped.shape, cropped.dtype) == ((3, *size), torch.uint8)


def test_test_images_are_cropped_from_the_center():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16).expand(3, 16, 16)
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    assert torch.equal(evaluation_transform((8, 8), 16)(image), pixels[:, 4:12, 4:12])


def test_resize_crop_takes_a_window_of_the_resized_image():
    """An image whose shorter side is 8/7 of the crop already is only cropped."""
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16).expand(3, 16, 16)
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    transform = training_transform(["resize_crop"], (3, 14, 14))
    torch.manual_seed(0)
    corners = set()
    for _ in range(60):
        cropped = transform(image)
        row, column = divmod(int(cropped[0, 0, 0]), 16)
        assert torch.equal(cropped, pixels[:, row : row + 14, column : column + 14])
        corners.add((row, column))
    assert corners == {(row, column) for row in range(3) for column in range(3)}


@pytest.mark.parametrize(("name", "least"), [("rrc", 0.08), ("rrc_sat", 0.2)])
def test_crops_cover_the_areas_of_their_recipe(name, least):
    """On an image whose red is its row and whose green is its column, a crop tells its area."""
    rows, columns = np.mgrid[0:250, 0:250].astype(np.uint8)
    image = Image.fromarray(np.stack([rows, columns, rows], 2))
    transform = training_transform([name], (3, 60, 60))
    torch.manual_seed(0)
    areas = []
    for _ in range(150):
        crop = transform(image).float()
        height, width = (crop[0, -1, 0] - crop[0, 0, 0], crop[1, 0, -1] - crop[1, 0, 0])
        areas.append(float(height * width) / 250**2)
    # Interpolation hides half a source pixel, of some, at each side.
    assert 0.85 * least < min(areas) < least + 0.05
    assert max(areas) > 0.85


def test_flips_are_fair():
    image = Image.fromarray(np.array([[[0] * 3, [255] * 3]] * 2, np.uint8))
    transform = training_transform(["flip", "resize_crop"], (3, 2, 2))
    torch.manual_seed(0)
    flipped = sum(int(transform(image)[0, 0, 0]) == 255 for _ in range(400))
    assert abs(flipped - 200) < 50


def test_grey_images_stay_grey_and_colors_change_in_fbresnet():
    """Its color steps act on all channels; lighting tints even grey."""
    image = Image.new("RGB", (20, 20), (120, 120, 120))
    plain = training_transform(["rrc", "flip"], SHAPE)(image)
    assert plain.unique().tolist() == [120]
    torch.manual_seed(0)
    colors = {
        tuple(training_transform(["fbresnet"], SHAPE)(image)[:, 0, 0].tolist()) for _ in range(20)
    }
    assert len(colors) > 15
    assert any(len(set(color)) > 1 for color in colors)


@pytest.mark.parametrize("crop", ["resize_center", "squash_center"])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("resize", "side"), [(None, 14), (20, 20)])
def test_test_images_are_those_of_torchvision(crop, mode, resize, side):
    image = photograph()
    target = [side] if crop == "resize_center" else [side, side]
    resized = functional.resize(
        v2.PILToTensor()(image), target, v2.InterpolationMode(mode), antialias=True
    )
    found = evaluation_transform(SIZE, resize, crop, mode)(image)
    assert torch.equal(found, functional.center_crop(resized, [12, 12]))


@pytest.mark.parametrize(("height", "width"), [(300, 400), (500, 375), (256, 256)])
def test_resize_center_is_the_slice_at_offset_16_of_256(height, width):
    """N2D2 brings the shorter side to 256, cuts 256x256, and slices 224x224 at offset 16."""
    image = photograph(height, width)
    resized = functional.resize(v2.PILToTensor()(image), [256], antialias=True)
    square = functional.center_crop(resized, [256, 256])
    found = evaluation_transform((224, 224), None)(image)
    assert torch.equal(found, square[:, 16:240, 16:240])


def test_squash_center_leaves_nothing_to_chance():
    """Both sides become 8/7 of the crop, whatever the aspect."""
    image = photograph()
    resized = functional.resize(v2.PILToTensor()(image), [16, 16], antialias=True)
    found = training_transform(["squash_center"], (3, 14, 14))(image)
    assert torch.equal(found, resized[:, 1:15, 1:15])


def expected_steps(name, mode):
    """Return the pipeline as its source describes it, for crops of 12x12."""
    flip = v2.RandomHorizontalFlip(0.5)
    return {
        "rrc": [v2.RandomResizedCrop(12, (0.08, 1), (3 / 4, 4 / 3), mode)],
        "rrc_sat": [v2.RandomResizedCrop(12, (0.2, 1), (3 / 4, 4 / 3), mode)],
        "resize_crop": [v2.Resize(14, mode), v2.RandomCrop(12)],
        "fbresnet": [
            v2.RandomResizedCrop(12, (0.08, 1), (3 / 4, 4 / 3), BICUBIC),
            v2.ColorJitter(0.4, 0.4, 0.4),
            Lighting(0.1),
            flip,
        ],
        "flip": [flip],
    }[name]


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    "names", [names for names in AUGMENTS.values() if "squash" not in names[0]]
)
def test_a_name_stands_for_its_steps(names, mode):
    image = photograph()
    steps = [step for name in names for step in expected_steps(name, v2.InterpolationMode(mode))]
    transform = training_transform(names, SHAPE, mode)
    for seed in range(5):
        torch.manual_seed(seed)
        found = transform(image)
        torch.manual_seed(seed)
        assert torch.equal(found, v2.Compose([v2.PILToTensor(), *steps])(image))


@pytest.mark.parametrize(("name", "border"), [("pad_crop_4", "constant"), ("shift_4", "replicate")])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_one_by_one_move_as_batches_do(name, border, channels):
    """The result is one of the 81 windows of the padded image, and not always the same."""
    image = torch.randint(1, 256, (channels, 12, 12), dtype=torch.uint8)
    padded = torch.nn.functional.pad(image[None].float(), [4] * 4, border)[0].to(torch.uint8)
    windows = [padded[:, row : row + 12, column : column + 12] for row, column in CORNERS]
    transform = training_transform([name], image.shape, in_memory=True)
    torch.manual_seed(0)
    places = set()
    for _ in range(30):
        found = transform(image)
        places |= {place for place, window in enumerate(windows) if torch.equal(found, window)}
    assert len(places) > 20


@pytest.mark.parametrize(
    ("augment", "source", "found"),
    [
        ([], "96x72", "3x96x72"),
        (["flip"], "96x72", "3x96x72"),
        ([{"name": "Resize", "size": 12}], "96x72", "3x16x12"),
        ([{"name": "RandomCrop", "size": [12, 13]}], "96x72", "3x12x13"),
    ],
    ids=str,
)
def test_a_recipe_that_makes_another_size_is_refused(augment, source, found):
    with pytest.raises(RecipeError) as caught:
        training_transform(augment, SHAPE)
    assert str(caught.value) == (
        f"/augment: makes {found} of an image of 3x{source}, but the network takes 3x12x12; "
        "add rrc, resize_crop or fbresnet"
    )


def test_colors_are_refused_for_gray_images():
    """Its size is right: no crop would mend it."""
    with pytest.raises(RecipeError) as caught:
        training_transform(["fbresnet"], (1, 12, 12), in_memory=True)
    assert str(caught.value) == (
        "/augment: makes 3x12x12 of an image of 1x12x12, but the network takes 1x12x12"
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("number", "p"), [(3, 0.5), (3, 0.3), (1, 0.5)])
def test_what_fails_for_some_images_is_found_at_once(number, p, seed):
    """A fill of three values does not fit a gray image, where it comes to that."""
    item = {"name": "RandomPerspective", "p": p, "fill": [9] * number}
    torch.manual_seed(seed)
    before = torch.get_rng_state()
    if number == 3:
        with pytest.raises(RecipeError, match=r"^/augment: fails for an image of 1x12x12: "):
            training_transform([item], (1, 12, 12), in_memory=True)
    else:
        training_transform([item], (1, 12, 12), in_memory=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_border_wider_than_the_image_is_refused():
    crop = {"name": "RandomCrop", "size": 8, "padding": 9, "padding_mode": "symmetric"}
    with pytest.raises(RecipeError, match=r"^/augment: fails for an image of 1x8x8: "):
        training_transform([crop], (1, 8, 8), in_memory=True)


def test_a_magnitude_beyond_its_bins_is_refused():
    with pytest.raises(RecipeError) as caught:
        training_transform([{"name": "RandAugment", "magnitude": 31}], SHAPE, in_memory=True)
    assert caught.value.faults == (
        "/augment/0: RandAugment: magnitude 31 is not below num_magnitude_bins, 31",
    )
    training_transform([{"name": "RandAugment", "magnitude": 30}], SHAPE, in_memory=True)


@pytest.mark.parametrize("crop", ["resize_center", "squash_center"])
def test_test_images_are_never_padded(crop):
    with pytest.raises(RecipeError) as caught:
        evaluation_transform((8, 12), 11, crop)
    assert caught.value.faults == (
        "/evaluation_resize: found 11, smaller than the images that the network takes, 12; "
        "remove it",
    )
    assert evaluation_transform((8, 12), 12, crop)(photograph()).shape == (3, 8, 12)


def test_a_crop_larger_than_the_image_is_refused():
    crop = {"name": "RandomCrop", "size": 40}
    with pytest.raises(RecipeError, match=r"^/augment: fails for an image of 1x12x12: .*40"):
        training_transform([crop], (1, 12, 12), in_memory=True)


def test_what_a_transform_refuses_is_told_with_its_place():
    blur = {"name": "GaussianBlur", "kernel_size": 4}
    with pytest.raises(RecipeError, match=r"^/augment/1: GaussianBlur: .*odd"):
        training_transform(["rrc", blur], SHAPE)


def test_listing_a_transform_changes_no_random_stream():
    before = torch.get_rng_state()
    training_transform(["fbresnet"], SHAPE)
    assert torch.equal(torch.get_rng_state(), before)


# The arguments that have no default, and a displacement that fits into a small image.
ARGUMENTS = {
    "ElasticTransform": {"sigma": 1.0},
    "RandomCrop": {"size": 12},
    "RandomResizedCrop": {"size": 12},
    "Resize": {"size": [12, 12]},
    "CenterCrop": {"size": [12, 12]},
    "Pad": {"padding": [0]},
    "RandomRotation": {"degrees": 10},
    "RandomAffine": {"degrees": [-5, 10]},
    "GaussianBlur": {"kernel_size": [3, 5]},
    "RandomPosterize": {"bits": 3},
    "RandomSolarize": {"threshold": 100},
    "RandomAdjustSharpness": {"sharpness_factor": 2},
}


def make_document(*augment):
    value = {"name": "x", "dataset": {"name": "x"}, "epochs": 2, "batch_size": 4, "lr": 0.1}
    return Document("mine.json", {**value, "augment": list(augment)})


@pytest.mark.parametrize("name", RULES)
def test_the_schema_has_the_arguments_of_torchvision(name):
    parameters = inspect.signature(getattr(v2, name)).parameters
    # Whether a transform overwrites its input is no business of a recipe.
    expected = {key: value.default for key, value in parameters.items() if key != "inplace"}
    fields = {key: value for key, value in RULES[name]["properties"].items() if key != "name"}
    assert list(fields) == list(expected)
    for key, field in fields.items():
        default = expected[key]
        if default is inspect.Parameter.empty:
            assert key in RULES[name]["required"]
            assert "default" not in field
        else:
            default = getattr(default, "value", default)
            assert field["default"] == (list(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_transform_does_what_torchvision_does(name, channels):
    document = make_document({"name": name, **ARGUMENTS.get(name, {})})
    assert find_faults(document, load_schema("training")) == []
    augment = fill_defaults(document.value, load_schema("training"))["augment"]
    image = torch.randint(256, (channels, 12, 12), dtype=torch.uint8)
    transform = training_transform(augment, image.shape, in_memory=True)
    for seed in range(3):
        torch.manual_seed(seed)
        found = transform(image)
        torch.manual_seed(seed)
        assert torch.equal(found, getattr(v2, name)(**ARGUMENTS.get(name, {}))(image))


def test_the_names_are_those_that_have_arguments():
    assert TRANSFORMS["properties"]["name"]["enum"] == list(RULES)


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        (
            {"name": "RandomRotatoin", "degrees": 3},
            '/augment/1/name: found "RandomRotatoin" (did you mean "RandomRotation"?), allowed: ',
        ),
        (
            {"name": "RandomRotation", "degree": 3, "degrees": 3},
            '/augment/1/degree: unknown key (did you mean "degrees"?); allowed: name, degrees, ',
        ),
        ({"name": "RandomRotation"}, '/augment/1: "degrees" is missing: The most that it turns'),
        ({"p": 0.5}, '/augment/1: "name" is missing: The class in torchvision.transforms.v2.'),
        (
            {"name": "RandomErasing", "p": 2},
            "/augment/1/p: 2 is more than the maximum 1",
        ),
        (
            {"name": "AutoAugment", "policy": "cifar"},
            '/augment/1/policy: found "cifar" (did you mean "cifar10"?), allowed: imagenet, ',
        ),
        (3, '/augment/1: found 3, allowed: a string or an object with "name"'),
    ],
)
def test_faults_of_a_transform(item, fault):
    faults = find_faults(make_document("flip", item), load_schema("training"))
    assert faults[0].startswith(f"mine.json: {fault}")
    assert len(faults) == 1
