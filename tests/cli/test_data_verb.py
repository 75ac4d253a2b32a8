"""`qcli data check`: what is there of a data set, and what is not."""

import gzip
import hashlib
import json
import struct
import warnings

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import qcli_datasets
from qcli.cli import cli
from qcli.errors import DataError, PluginError, QcliError, RecipeError, UsageError
from qcli.training.checksums import take_checksums
from qcli.training.inventory import take_inventory
from qcli.training.splits import ArraySplit, Splits

ENTRIES = {entry.name: entry for entry in qcli_datasets.qcli_register_datasets()}
FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def check(*arguments):
    """Run the verb; return its output and its error, None where it succeeds."""
    result = CliRunner().invoke(cli, ["data", "check", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, QcliError):
        raise result.exception
    return result.stdout, result.exception


def write_mnist(folder, train=12, test=5):
    folder.mkdir(parents=True)
    for name, count in zip(FILES, (train, train, test, test), strict=True):
        is_images = "images" in name
        shape = (count, 28, 28) if is_images else (count,)
        header = struct.pack(f">{1 + len(shape)}I", 2051 if is_images else 2049, *shape)
        values = bytes(index % 10 for index in range(int(np.prod(shape))))
        (folder / f"{name}-ubyte").write_bytes(header + values)


def write_photographs(root, counts):
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8)).save(root / name / f"{number:03}.png")


def test_a_data_set_without_files_is_counted():
    """The class counts of the 1797 digits, as scikit-learn's documentation gives them."""
    text, error = check("digits", "--json")
    found = json.loads(text)
    assert error is None
    assert list(found) == [
        *("schema_version", "dataset", "files", "splits", "class_names", "faults")
    ]
    splits = found["splits"]
    assert [splits[name]["images"] for name in ("train", "test")] == [1437, 360]
    counts = np.add(splits["train"]["classes"], splits["test"]["classes"])
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (found["files"], found["faults"]) == ([], [])
    assert "1,437" in check("digits")[0]


def test_files_that_are_not_as_published_are_told(tmp_path):
    """These files can be read, but their images are not those of MNIST."""
    write_mnist(tmp_path / "MNIST/raw")
    text, error = check("mnist", "-p", tmp_path, "--json")
    found = json.loads(text)
    assert isinstance(error, DataError)
    assert len(found["faults"]) == len(found["files"]) == 4
    assert not any(file["as_published"] for file in found["files"])
    path = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    assert str(error).splitlines()[0] == (
        f"{path}: is not as published: its MD5 is {md5}, expected "
        "6bbc9ace898e44ae57da46a324031adb; copy the file again, or delete it and pass --download"
    )
    assert found["splits"]["train"] == {
        "images": 12,
        "shape": [1, 28, 28],
        "classes": [2, 2, *[1] * 8],
        "decoded": 0,
        "unreadable": [],
    }


def test_missing_files_are_told_with_those_that_are_there(tmp_path):
    write_mnist(tmp_path / "raw")
    (tmp_path / "raw/t10k-labels-idx1-ubyte").unlink()
    text, error = check("mnist", "-p", tmp_path)
    assert text.count("another file") == 3
    assert "mnist has no t10k-labels-idx1-ubyte there; expected MNIST/raw/ with" in str(error)
    assert error.exit_code == 2
    assert "mnist needs -p DIR" in str(check("mnist")[1])


@pytest.mark.parametrize("folder", ["a/b", "b", ""])
def test_a_file_may_lie_at_any_end_of_its_path(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    path = tmp_path / folder / "c.bin"
    path.write_bytes(b"abc")
    # The MD5 of "abc" in RFC 1321.
    published = {"a/b/c.bin": "900150983cd24fb0d6963f7d28e17f72", "a/b/other": "0" * 32}
    (found,) = take_checksums(tmp_path, published)
    assert (found.path, found.is_right) == (path, True)
    path.write_bytes(b"abd")
    assert [each.is_right for each in take_checksums(tmp_path, published)] == [False]


@pytest.mark.parametrize(
    ("name", "source"),
    [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("cifar10", "CIFAR10")],
)
def test_checksums_are_those_of_torchvision(name, source):
    from torchvision import datasets

    found = {path.rpartition("/")[2]: md5 for path, md5 in ENTRIES[name].checksums.items()}
    kind = getattr(datasets, source)
    pairs = kind.train_list + kind.test_list if name == "cifar10" else kind.resources
    expected = {str(path).rpartition("/")[2]: md5 for path, md5 in pairs}
    assert expected.items() <= found.items()


def test_images_that_cannot_be_decoded_are_named(tmp_path):
    write_photographs(tmp_path / "train", {"a": 250, "b": 5})
    write_photographs(tmp_path / "val", {"a": 2, "b": 2})
    # Of 255 images every third is in the sample, at most 100: this one is not.
    broken = tmp_path / "train/a/001.png"
    broken.write_bytes(broken.read_bytes()[:40])
    text, error = check("imagenet", "-p", tmp_path)
    assert error is None
    assert "85, 0 unreadable" in text
    text, error = check("imagenet", "-p", tmp_path, "--all", "--json")
    train = json.loads(text)["splits"]["train"]
    assert (train["images"], train["decoded"], train["classes"]) == (255, 255, [250, 5])
    assert isinstance(error, DataError)
    assert str(error).startswith(f"{broken}: cannot be decoded as an image: ")
    assert len(str(error).splitlines()) == 1


def test_many_classes_are_summed_up(tmp_path):
    write_photographs(tmp_path, {f"n{number:02}": 5 + number % 2 for number in range(25)})
    text, error = check("folder", "-p", tmp_path)
    assert error is None
    assert "n19" in text
    assert "n20" not in text
    assert (
        "25 classes, the first 20 shown; images for each: 4 to 5 in train, 1 to 1 in test" in text
    )


class Unlabelled:
    """Images whose labels only decoding tells."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index == 2:
            raise DataError("number 2 is broken")
        return Image.new("RGB", (2, 2)), index


class Grumbling(Unlabelled):
    """Images with harmless faults, which decoders warn of."""

    def __getitem__(self, index):
        warnings.warn("odd metadata", stacklevel=1)
        return super().__getitem__(index)


def test_warnings_of_decoders_are_no_faults():
    filters = list(warnings.filters)
    part = take_inventory(Splits(Grumbling(), Grumbling(), 3), decode_all=True)["train"]
    assert part.faults == ("number 2 is broken",)
    assert warnings.filters == filters


def test_labels_that_only_decoding_tells():
    test = ArraySplit(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 2, 2, 2]))
    splits = Splits(Unlabelled(), test, 3)
    part = take_inventory(splits, decode_all=False)["train"]
    assert (part.images, part.decoded, part.classes) == (3, 3, None)
    assert part.faults == ("number 2 is broken",)
    both = take_inventory(splits, decode_all=True)
    assert [both[name].classes for name in ("train", "test")] == [(1, 1, 0), (1, 0, 3)]


def test_options_of_the_data_set(tmp_path):
    write_photographs(tmp_path, {"a": 10, "b": 10})
    text, error = check("folder", "-p", tmp_path, "--set", "test_fraction=0.5", "--json")
    assert error is None
    assert json.loads(text)["splits"]["test"]["classes"] == [5, 5]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["minst"], PluginError, '"minst"'),
        (["digits", "--set", "split"], UsageError, "--set split: write KEY=VALUE"),
        (
            ["digits", "--set", "spilt=writer"],
            RecipeError,
            "/dataset/spilt: unknown key (did you m",
        ),
        (["digits", "--set", "split=other"], RecipeError, '/dataset/split: found "other", allowed'),
        (["digits", "--download"], RecipeError, "/dataset/download: unknown key"),
    ],
)
def test_faults_of_the_command_line(arguments, kind, message):
    text, error = check(*arguments)
    assert (text, type(error)) == ("", kind)
    assert message in str(error)


def test_compressed_files_are_checked_too(tmp_path):
    write_mnist(tmp_path / "raw")
    for path in list((tmp_path / "raw").iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    found = json.loads(check("mnist", "-p", tmp_path, "--json")[0])
    assert sorted(file["path"].rpartition("/")[2] for file in found["files"]) == sorted(
        f"{name}-ubyte.gz" for name in FILES
    )
