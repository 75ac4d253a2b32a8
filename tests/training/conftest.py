"""What most tests of the training layer start from: recipes, the catalog, quantized networks."""

import pytest
from torch import nn

from qcli.catalog.catalog import Catalog, Offer
from qcli.catalog.entries import QuantizerEntry
from qcli.catalog.load import load_catalog
from qcli.quantization.planner import make_plan
from qcli.quantization.surgery import quantize
from qcli.recipe.checking import fill_defaults, load_schema
from qcli.recipe.quantization import QuantizationRecipe
from qcli.recipe.training import TrainingRecipe
from qcli.training.learner import make_learner
from qcli.training.record import SessionOptions
from qcli.training.session import open_accelerator


@pytest.fixture(scope="session")
def catalog():
    """Every bundled plugin."""
    return load_catalog()


@pytest.fixture(scope="session")
def make_recipe():
    """Return a function from fields of a training recipe to the recipe, all defaults filled in."""

    def make(**fields):
        value = {"name": "x", "dataset": {"name": "x"}, "epochs": 2, "batch_size": 4, "lr": 0.1}
        return TrainingRecipe.from_json(fill_defaults(value | fields, load_schema("training")))

    return make


@pytest.fixture(scope="session")
def learn():
    """Return a function from a network, a training recipe and a teacher to a Learner on the CPU."""

    def make(model, recipe, teacher=None):
        accelerator = open_accelerator(recipe, SessionOptions(cpu=True))
        return make_learner(accelerator, model, recipe, teacher)

    return make


@pytest.fixture(scope="session")
def quantize_by(catalog):
    """Return a function that quantizes a network, in place, by the slots of a recipe.

    `own` is a quantizer class, or a function of TensorInfo, that slots can name "own".
    """

    def make(model, image_shape, default, *, own=None, **parts):
        value = {"name": "x", "default": default, "first_layer": {}, "last_layer": {}, "layers": []}
        recipe = QuantizationRecipe.from_json(value | parts)
        offers = catalog.offers
        if own is not None:
            offers = (*offers, Offer(QuantizerEntry("own", "", "", own), "here", ""))
        plan = make_plan(model, recipe, image_shape, catalog=Catalog(offers, ()))
        return quantize(model, plan)

    return make


@pytest.fixture
def make_network():
    """Return a function that builds a small network for images [3, 6, 6], 4 classes."""

    def make(norm=False):
        layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4) if norm else nn.Identity(), nn.ReLU()]
        layers += [nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5) if norm else nn.Identity(), nn.ReLU()]
        names = ("conv1", "norm1", "relu1", "conv2", "norm2", "relu2")
        network = nn.Sequential()
        for name, layer in zip(names, layers, strict=True):
            network.add_module(name, layer)
        network.add_module("flatten", nn.Flatten())
        network.add_module("fc", nn.Linear(20, 4))
        return network

    return make
