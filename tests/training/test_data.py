"""A data set and a recipe made into batches: held-out images, and plugins that go wrong."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from qcli.catalog.entries import DatasetEntry
from qcli.errors import DataError, PluginError, RecipeError
from qcli.recipe.setting import Request, resolve_setting
from qcli.training.batches import Process, ResidentEvaluation, ResidentTraining
from qcli.training.data import load_splits, make_data
from qcli.training.splits import ArraySplit, Normalization, Splits
from qcli.training.streaming import StreamedTraining

ALONE = Process(0, 1, torch.device("cpu"))
HELD_OUT = {"select_on": "validation", "validation_fraction": 0.3}


class Photos:
    """Images that are decoded one by one: the label is the number."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return Image.new("RGB", (8, 8), (index, 0, 0)), index


def numbered(count, channels=1):
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None]
    return ArraySplit(images.expand(count, channels, 8, 8), torch.arange(count))


def make_splits(kind, normalization=None):
    make = numbered if kind == "memory" else Photos
    return Splits(make(40), make(10), 40, normalization)


def make(make_recipe, kind, **fields):
    if kind == "files":
        fields |= {"augment": ["resize_crop"], "workers": 0}
    recipe = make_recipe(**fields)
    return make_data(make_splits(kind), recipe, (1 if kind == "memory" else 3, 8, 8), ALONE)


def labels_of(batches):
    return sorted(label for batch in batches for label in batch.labels.tolist())


def trained_on(data):
    return labels_of(batch for step in data.training.epoch(0, 0) for batch in step)


@pytest.mark.parametrize("kind", ["memory", "files"])
def test_held_out_images_and_those_trained_on_are_the_training_set(make_recipe, kind):
    data = make(make_recipe, kind, **HELD_OUT)
    held, trained = labels_of(data.selection), trained_on(data)
    assert (len(held), len(trained), data.selection.num_images) == (12, 28, 12)
    assert sorted(held + trained) == list(range(40))
    assert labels_of(data.test) == list(range(10))


@pytest.mark.parametrize("kind", ["memory", "files"])
def test_held_out_images_keep_their_labels(make_recipe, kind):
    for batch in make(make_recipe, kind, **HELD_OUT).selection:
        shades = (batch.images[:, 0, 0, 0] * 255).round().long()
        assert torch.equal(shades, batch.labels)


def test_held_out_photographs_have_labels_where_the_data_set_has(make_recipe):
    """Their indices are one tensor: a list would be copied by every worker process."""
    part = make(make_recipe, "files", **HELD_OUT).selection.loader.loader.dataset.split
    assert isinstance(part.indices, torch.Tensor)
    assert part.labels is None
    part.split.labels = list(range(40))
    assert part.labels.tolist() == part.indices.tolist() == [label for _, label in part]


@pytest.mark.parametrize("kind", ["memory", "files"])
def test_the_seed_decides_what_is_held_out(make_recipe, kind):
    one, same, other = (
        labels_of(make(make_recipe, kind, seed=seed, **HELD_OUT).selection) for seed in (5, 5, 6)
    )
    assert one == same
    assert one != other
    # Not the first ones: a data set may be sorted by class.
    assert one != list(range(12))


def test_memory_and_files_hold_out_the_same(make_recipe):
    memory, files = (
        labels_of(make(make_recipe, kind, **HELD_OUT).selection) for kind in ("memory", "files")
    )
    assert memory == files


def test_without_a_held_out_part_the_test_set_selects(make_recipe):
    data = make(make_recipe, "memory")
    assert data.selection is data.test
    assert trained_on(data) == list(range(40))


@pytest.mark.parametrize(("fraction", "held"), [(0.001, 0), (0.999, 40)])
def test_fractions_that_hold_out_nothing_or_all_are_refused(make_recipe, fraction, held):
    text = f"^/validation_fraction: {fraction} of 40 images holds out {held}$"
    with pytest.raises(RecipeError, match=text):
        make(make_recipe, "memory", select_on="validation", validation_fraction=fraction)


@pytest.mark.parametrize(
    ("normalize", "means"),
    [("imagenet", 3), ({"mean": [0.5, 0.5], "std": [1, 1]}, 2)],
)
def test_constants_for_other_channels_are_refused(make_recipe, normalize, means):
    text = f"^/normalize: {means} means and {means} stds, but the images have 1 channels$"
    with pytest.raises(RecipeError, match=text):
        make(make_recipe, "memory", normalize=normalize)


def test_lq_nets_subtracts_the_mean_image_and_divides_by_128(make_recipe):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (20, 3, 8, 8), dtype=torch.uint8, generator=generator)
    split = ArraySplit(images, torch.zeros(20, dtype=torch.int64))
    recipe = make_recipe(normalize="lq_nets", evaluation_batch_size=20)
    (batch,) = make_data(Splits(split, split, 1), recipe, (3, 8, 8), ALONE).test
    expected = (images.double() - images.double().mean(0)) / 128
    torch.testing.assert_close(batch.images.double(), expected, rtol=0, atol=1e-6)


def test_lq_nets_needs_images_in_memory(make_recipe):
    with pytest.raises(RecipeError, match=r'^/normalize: "lq_nets" takes the mean of images in'):
        make(make_recipe, "files", normalize="lq_nets")


def test_the_common_variant_of_cifar10_has_the_deviation_of_single_images(make_recipe):
    recipe = make_recipe(normalize="cifar10_per_image_std", evaluation_batch_size=10)
    splits = Splits(numbered(40, 3), numbered(10, 3), 40)
    (batch,) = make_data(splits, recipe, (3, 8, 8), ALONE).test
    values = torch.arange(10)[:, None] / 255
    expected = (values - torch.tensor([0.4914, 0.4822, 0.4465])) / torch.tensor(
        [0.2023, 0.1994, 0.2010]
    )
    torch.testing.assert_close(batch.images[:, :, 0, 0], expected)


def test_constants_of_a_data_set_for_other_channels_are_the_fault_of_its_plugin(make_recipe):
    own = Normalization((0.5, 0.5, 0.5), (1, 1, 1))
    with pytest.raises(PluginError, match="3 means and 3 stds, but the images have 1 channels"):
        make_data(make_splits("memory", own), make_recipe(), (1, 8, 8), ALONE)


@pytest.mark.parametrize(
    ("augment", "kind"),
    [
        (["pad_crop_1", "flip"], ResidentTraining),
        (["flip", "rrc"], StreamedTraining),
        ([{"name": "RandomVerticalFlip"}], StreamedTraining),
    ],
    ids=str,
)
def test_images_in_memory_stay_on_the_device_where_pixels_only_move(make_recipe, augment, kind):
    data = make(make_recipe, "memory", augment=augment, workers=0)
    assert type(data.training) is kind
    assert type(data.test) is ResidentEvaluation
    assert trained_on(data) == list(range(40))


def test_photographs_need_a_crop(make_recipe):
    recipe = make_recipe(augment=["flip"])
    with pytest.raises(RecipeError, match="but the network takes 3x8x8; add rrc, resize_crop or"):
        make_data(make_splits("files"), recipe, (3, 8, 8), ALONE)


@pytest.fixture
def load(catalog):
    """Return a function that loads a data set built by another function."""
    setting = resolve_setting(Request(train_json="lenet5-digits-20ep"), catalog)

    def run(build, root=None, options=None):
        entry = DatasetEntry("mine", "", "", build)
        return load_splits(replace(setting, dataset=entry, dataset_options=options or {}), root)

    return run


def test_a_plugin_hears_where_data_lie_the_shape_and_its_options(load, tmp_path):
    heard = []

    def build(root, image_shape, **options):
        heard.append((root, image_shape, options))
        return make_splits("memory")

    assert load(build, tmp_path, {"size": 3}).num_classes == 40
    # The entry has no shape of its own: the network's is asked for.
    assert heard == [(tmp_path, (1, 28, 28), {"size": 3})]


@pytest.mark.parametrize(
    ("value", "kind"), [(None, "NoneType"), ((1, 2), "tuple"), ({}, "dict")], ids=str
)
def test_a_plugin_that_builds_something_else_is_broken(load, value, kind):
    with pytest.raises(PluginError, match=f'^"mine" builds a {kind}, not a qcli.Splits$'):
        load(lambda root, shape: value)


@pytest.mark.parametrize("build", ["nowhere.at.all:build", "qcli_datasets:build_nothing"])
def test_a_plugin_whose_code_is_missing_is_broken(load, build):
    with pytest.raises(PluginError, match=f'^"mine" names {build}, which cannot be imported'):
        load(build)


def test_missing_files_stay_the_fault_of_the_user(load):
    def build(root, image_shape):
        raise DataError("train.bin is missing")

    with pytest.raises(DataError, match=r"^train.bin is missing$"):
        load(build)
