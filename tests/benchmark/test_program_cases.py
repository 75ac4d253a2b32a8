"""Whole programs, on a handful of images of CIFAR-10's shape."""

from itertools import islice

import pytest
import torch

from qcli.benchmark import program_cases
from qcli.benchmark.case import Scope
from qcli.benchmark.program_cases import endless_steps, fastest_settings, load_cifar10
from qcli.catalog.load import load_catalog
from qcli.errors import DataError
from qcli.recipe.setting import Request, resolve_setting


@pytest.fixture
def setting():
    return resolve_setting(Request(train_json="resnet20-cifar10-200ep"), load_catalog())


def test_random_images_are_as_many_as_those_of_cifar10(setting):
    splits = load_cifar10(setting, None)
    assert splits.train.images.shape == (50_000, 3, 32, 32)
    assert len(splits.test) == 10_000
    assert splits.train.images.dtype == torch.uint8
    assert splits.train.labels.unique().tolist() == list(range(10))


def test_images_of_a_folder_are_those_of_the_data_set(setting, tmp_path):
    with pytest.raises(DataError, match="cifar"):
        load_cifar10(setting, tmp_path)


def test_steps_go_on_over_epochs_that_differ(setting, monkeypatch):
    monkeypatch.setattr(program_cases, "TRAIN_IMAGES", 256)
    steps = endless_steps(setting, load_cifar10(setting, None))
    batches = [batch.images for (batch,) in islice(steps, 5)]
    assert all(images.shape == (128, 3, 32, 32) for images in batches)
    assert len({images.sum().item() for images in batches}) == 5


@pytest.mark.parametrize(
    ("bfloat16", "compiler", "settings"),
    [
        (True, True, ("channels_last=true", "precision=bfloat16", "compile=true")),
        (False, True, ("channels_last=true", "compile=true")),
        (False, False, ("channels_last=true",)),
    ],
)
def test_the_fastest_settings_are_those_of_the_machine(monkeypatch, bfloat16, compiler, settings):
    monkeypatch.setattr(program_cases, "has_bfloat16", lambda: bfloat16)
    monkeypatch.setattr(program_cases, "has_compiler", lambda: compiler)
    assert fastest_settings() == settings


def test_pipelines_tell_how_many_images_they_read(monkeypatch, tmp_path):
    monkeypatch.setattr(program_cases, "TRAIN_IMAGES", 300)
    monkeypatch.setattr(program_cases, "LOADER_BATCHES", 3)
    arms = program_cases.compare_pipelines(Scope(tmp_path))
    assert {name: arm.images for name, arm in arms.items()} == {
        "torchvision": 3 * 128,
        # The last batch of 44 is used.
        "qcli": 300,
    }
    assert {arm.unit() for arm in arms.values()} == {None}


def test_an_epoch_is_all_of_the_images(monkeypatch, tmp_path):
    monkeypatch.setattr(program_cases, "TRAIN_IMAGES", 128)
    monkeypatch.setattr(program_cases, "TEST_IMAGES", 16)
    arms = program_cases.measure_epoch(Scope(tmp_path), recipe="search-1b", cuda=False)
    assert arms["search-1b"].images == 128
    assert arms["search-1b"].unit() is None
