"""The bundled data sets: what they hold, and what is said where their files are damaged."""

from __future__ import annotations

import gzip
import importlib
import inspect
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

import qcli
import qcli_datasets
from qcli_datasets.image_files import decode_image
from qcli_datasets.resizing import resize_images

ENTRIES = {entry.name: entry for entry in qcli_datasets.qcli_register_datasets()}
CLASS_COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
CLASS_COUNTS_OF_LAST = [35, 36, 35, 37, 37, 37, 37, 36, 33, 37]
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 3072), dtype=np.uint8)
LABELS = [index % 10 for index in range(12)]
# Each image is told by its width: (width, label).
PHOTOS = {"folder": [(1, 0), (2, 0), (3, 1), (4, 1)], "flat": [(4, 1), (1, 0)]}


def find_build(name: str) -> Any:
    module, function = str(ENTRIES[name].build).split(":")
    return getattr(importlib.import_module(module), function)


def build(name: str, root: Path | None = None, shape: Any = None, **options: Any) -> qcli.Splits:
    return find_build(name)(root, shape or ENTRIES[name].image_shape, **options)


def expect_fault(parts: list[str], *arguments: Any, **options: Any) -> None:
    """Building raises a DataError with every part in its message."""
    with pytest.raises(qcli.DataError) as caught:
        build(*arguments, **options)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ENTRIES)
def test_options_are_the_keyword_parameters_with_their_defaults(name):
    parameters = inspect.signature(find_build(name)).parameters.values()
    keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    options = ENTRIES[name].options
    assert {option: schema["default"] for option, schema in options.items()} == keywords
    assert all(schema["description"] and schema["type"] for schema in options.values())


def test_entries_import_no_torch():
    code = (
        "import sys, qcli_datasets; qcli_datasets.qcli_register_datasets();"
        "print({'torch', 'torchvision', 'sklearn', 'numpy', 'PIL'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


@pytest.mark.parametrize("split", ["random", "writer"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 5, 7)])
def test_digits(shape, split):
    splits, again = (build("digits", None, shape, split=split) for _ in range(2))
    assert splits.train.images.shape == (1437, *shape)
    assert splits.test.images.shape == (360, *shape)
    assert (splits.test.images.dtype, splits.test.labels.dtype) == (torch.uint8, torch.int64)
    assert torch.equal(splits.test.images, again.test.images)
    counts = splits.test.labels.bincount()
    assert (counts.tolist() == CLASS_COUNTS_OF_LAST) == (split == "writer")
    assert (counts + splits.train.labels.bincount()).tolist() == CLASS_COUNTS
    images = torch.cat([splits.train.images, splits.test.images]) / 255
    near = 2e-4 if shape == (1, 8, 8) else 0.1
    assert images.mean((0, 2, 3)).tolist() == pytest.approx(splits.normalization.mean, abs=near)
    assert images.std((0, 2, 3)).tolist() == pytest.approx(splits.normalization.std, abs=near)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_synthetic_is_learnable_and_repeatable(shape):
    splits, again, other = (build("synthetic", None, shape, seed=seed) for seed in (0, 0, 1))
    train, test = (s.images.numpy().reshape(len(s), -1) * 1.0 for s in (splits.train, splits.test))
    labels = splits.train.labels.numpy()
    means = np.stack([train[labels == label].mean(0) for label in range(10)])
    nearest = np.square(test[:, None] - means).sum(2).argmin(1)
    assert (nearest == splits.test.labels.numpy()).mean() > 0.9
    assert torch.equal(splits.train.images, again.train.images)
    assert not torch.equal(splits.train.images, other.train.images)


def test_options_of_synthetic():
    counts = {"num_classes": 3, "train_images": 7, "test_images": 4}
    splits = build("synthetic", None, (2, 3, 5), noise=0, **counts)
    assert (splits.num_classes, splits.test.labels.tolist()) == (3, [0, 1, 2, 0])
    assert torch.equal(splits.train.images[[0, 1, 2, 0]], splits.train.images[3:])


def make_idx(magic: int, *shape: int) -> bytes:
    values = bytes(index % 10 for index in range(int(np.prod(shape))))
    return struct.pack(f">{1 + len(shape)}I", magic, *shape) + values


def write_mnist(folder: Path, suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", 12), ("t10k", 5)):
        images, labels = make_idx(2051, count, 28, 28), make_idx(2049, count)
        for name, content in (("images-idx3", images), ("labels-idx1", labels)):
            packed = gzip.compress(content, mtime=0) if suffix else content
            (folder / f"{part}-{name}-ubyte{suffix}").write_bytes(packed)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", ["MNIST/raw", "raw", ""])
def test_mnist(tmp_path, folder, suffix):
    write_mnist(tmp_path / folder, suffix)
    splits = build("mnist", tmp_path)
    assert splits.train.images.shape == (12, 1, 28, 28)
    assert splits.train.images[1, 0, 0, :3].tolist() == [4, 5, 6]
    assert splits.test.labels.tolist() == [0, 1, 2, 3, 4]
    assert build("mnist", tmp_path, (3, 32, 32)).test.images.shape == (5, 3, 32, 32)


def test_images_are_resized_bilinearly_and_rounded():
    """Twice as large: a new pixel lies a quarter from one old one and three from the next."""
    small = torch.tensor([[0, 100], [200, 41]], dtype=torch.uint8)[None, None]
    large = [[0, 25, 75, 100], [50, 59, 76, 85], [150, 126, 79, 56], [200, 160, 81, 41]]
    found = resize_images(small, (3, 4, 4))
    assert found.dtype is torch.uint8
    assert found[0].tolist() == [large] * 3


def test_missing_files_are_fetched_when_asked_for(tmp_path, monkeypatch):
    fetch = Mock(side_effect=lambda url, folder, **names: write_mnist(folder))
    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", fetch)
    for _ in range(2):
        assert len(build("mnist", tmp_path / "new", download=True).test) == 5
    assert [call.kwargs["filename"] for call in fetch.call_args_list] == [
        *("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        *("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    ]


def test_failed_download(tmp_path, monkeypatch):
    download = "torchvision.datasets.utils.download_and_extract_archive"
    monkeypatch.setattr(download, Mock(side_effect=OSError("no network")))
    expect_fault(["not be downloaded: no network"], "cifar10", tmp_path, download=True)


def make_batch(protocol: int = 3, **changes: Any) -> bytes:
    return pickle.dumps({"data": IMAGES, "labels": LABELS} | changes, protocol=protocol)


def as_python_2(batch: bytes) -> bytes:
    """Replace the opcode of texts with that of Python 2's strings, as in the published files."""
    for text in (b"data", b"labels", b"u1"):
        length = struct.pack("<I", len(text))
        batch = batch.replace(b"X" + length + text, b"T" + length + text)
    return batch.replace(b"numpy._core", b"numpy.core")


def write_cifar10(folder: Path, batch: bytes) -> None:
    folder.mkdir(exist_ok=True)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(batch)


@pytest.mark.parametrize(
    "batch", [as_python_2(make_batch(2)), *(make_batch(protocol) for protocol in (0, 2, 3, 4))]
)
def test_cifar10(tmp_path, batch):
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar10(folder, batch)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [*"abcdefghij"]}))
    for root in (tmp_path, folder):
        splits = build("cifar10", root)
        assert splits.train.images.shape == (60, 3, 32, 32)
        assert torch.equal(splits.test.images.flatten(1), torch.from_numpy(IMAGES))
        assert splits.train.labels.tolist() == LABELS * 5
        assert splits.class_names == tuple("abcdefghij")
    expect_fault(["of 3 channels and the network takes 1"], "cifar10", root, (1, 32, 32))


def test_cifar100(tmp_path):
    fine, coarse = [99, *LABELS[1:]], [19, *LABELS[1:]]
    for name in ("train", "test"):
        (tmp_path / name).write_bytes(make_batch(fine_labels=fine, coarse_labels=coarse))
    assert build("cifar100", tmp_path).test.labels.tolist() == fine
    splits = build("cifar100", tmp_path, labels="coarse")
    assert (splits.num_classes, splits.train.labels.tolist()) == (20, coarse)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100", "imagenet"])
def test_missing_files_are_named(tmp_path, name):
    expect_fault([f"{name} needs -p DIR: the directory that holds "], name, None)
    write_cifar10(tmp_path / "cifar-10-batches-py", make_batch())
    (tmp_path / "cifar-10-batches-py/data_batch_4").unlink()
    missing = {"cifar10": "has no data_batch_4 there", "imagenet": "No such file or directory"}
    expect_fault([str(tmp_path), missing.get(name, "train"), " -p DIR "], name, tmp_path)


@pytest.mark.parametrize("name", ["data_batch_2", "batches.meta"])
def test_pickle_runs_nothing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path, make_batch())
    (tmp_path / name).write_bytes(b"cos\nmkdir\n(S'trace'\ntR.")
    expect_fault([f"{tmp_path / name}: ", "os.mkdir, which was refused"], "cifar10", tmp_path)
    assert not Path("trace").exists()


DAMAGE = [
    ("mnist", "train-images-idx3-ubyte", b"", "holds 0 bytes"),
    ("mnist", "train-images-idx3-ubyte", make_idx(2049, 12, 28, 28), "expected 2051"),
    ("mnist", "train-images-idx3-ubyte", make_idx(2051, 12, 28, 28)[:-1], "asks for 9424"),
    ("mnist", "train-images-idx3-ubyte", make_idx(2051, 0, 28, 28), "0 images"),
    ("mnist", "t10k-images-idx3-ubyte", make_idx(2051, 5, 20, 28), "5 images of 20x28"),
    ("mnist", "t10k-labels-idx1-ubyte", make_idx(2049, 5) + b"x", "holds 14 bytes"),
    ("mnist", "t10k-labels-idx1-ubyte", make_idx(2049, 6), "6 labels for 5 images"),
    ("mnist", "t10k-labels-idx1-ubyte", make_idx(2049, 5)[:-1] + b"\x0b", "image 4 is 11"),
    ("mnist", "train-labels-idx1-ubyte.gz", b"no gzip", "cannot be read"),
    ("mnist", "train-labels-idx1-ubyte.gz", gzip.compress(b"x", mtime=0)[:-4], "cannot be read"),
    ("cifar10", "test_batch", b"", "cannot be read: it ends too early"),
    ("cifar10", "data_batch_1", make_batch()[:-100], "cannot be read"),
    ("cifar10", "data_batch_3", pickle.dumps([1]), "holds a list, expected a dictionary"),
    ("cifar10", "data_batch_4", pickle.dumps({"other": 1}), "holds other; expected data"),
    ("cifar10", "batches.meta", make_batch(label_names=["cat"]), "no list of 10 names"),
    ("cifar10", "test_batch", make_batch(data=[1]), "data is no array"),
    ("cifar10", "test_batch", make_batch(data=IMAGES.astype(np.int16)), "type i2, expected u1"),
    ("cifar10", "test_batch", make_batch(data=IMAGES.astype(object)), "type O8, expected u1"),
    ("cifar10", "test_batch", make_batch(data=IMAGES[:, 1:].copy()), "shape 12x3071; expected Nx"),
    ("cifar10", "test_batch", make_batch(data=IMAGES[:0], labels=[]), "the shape 0x3072"),
    ("cifar10", "test_batch", make_batch(data=IMAGES.copy(order="F")), "by columns"),
    ("cifar10", "test_batch", make_batch(labels=LABELS[1:]), "11 labels for 12 images"),
    ("cifar10", "test_batch", make_batch(labels=[10**30, *LABELS[1:]]), "image 0 is 1000"),
    ("cifar10", "test_batch", make_batch(labels=["cat", *LABELS[1:]]), "is 'cat'; expected 0..9"),
    ("cifar10", "test_batch", make_batch(labels=1), "labels is no list"),
]


@pytest.mark.parametrize(("dataset", "name", "content", "message"), DAMAGE)
def test_damaged_file(tmp_path, dataset, name, content, message):
    write_mnist(tmp_path, Path(name).suffix)
    write_cifar10(tmp_path, make_batch())
    (tmp_path / name).write_bytes(content)
    expect_fault([f"{tmp_path / name}: ", message, "delete it and pass"], dataset, tmp_path)


def write_photos(root: Path, layout: str) -> None:
    for width, label in reversed(PHOTOS["folder"]):
        separator = "/" if layout == "folder" else " "
        for path in (f"train/n{label}/{width}.PNG", f"val/n{label}{separator}{width}.PNG"):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (width, 8)).save(root / path)
    (root / "train/n1/.hidden.png").touch()
    (root / "val.txt").write_text("n1 4.PNG 1\nn0 1.PNG\t0\n\n")


def describe(images: Any) -> list[tuple[int, int]]:
    found = (images[index] for index in range(len(images)))
    return [(image.width, label) for image, label in found]


@pytest.mark.parametrize("layout", PHOTOS)
def test_imagenet(tmp_path, layout):
    write_photos(tmp_path, layout)
    for option in ("auto", layout):
        splits = build("imagenet", tmp_path, layout=option)
        assert (splits.num_classes, splits.class_names) == (2, ["n0", "n1"])
        assert describe(splits.train) == PHOTOS["folder"]
        assert describe(pickle.loads(pickle.dumps(splits.test))) == PHOTOS[layout]


@pytest.mark.parametrize(
    ("layout", "damage", "message"),
    [
        ("folder", "rm -r train", "train: No such file or directory; expected train/CLASS/IMAGE"),
        ("folder", "rm -r val", "val: No such file or directory; expected train/CLASS/IMAGE"),
        ("folder", "rm -r train/n1", "train: the number of folders is 1; expected one for each of"),
        ("folder", "mkdir val/n3", "val/n3: there is no folder of this name in "),
        ("folder", "mkdir train/n3", "train/n3: holds no images; expected files ending in .jpg, "),
        ("flat", "rm val.txt", "val.txt: cannot be read: "),
        ("flat", "echo > val.txt", "val.txt: names no images"),
        ("flat", "echo a.png 0 > val.txt", "val.txt, line 1: there is no image "),
        ("flat", "echo a.png 2 > val.txt", "line 1: found 'a.png 2'; expected IMAGE LABEL"),
    ],
)
def test_fault_in_imagenet(tmp_path, layout, damage, message):
    write_photos(tmp_path, layout)
    subprocess.run(damage, shell=True, check=True, cwd=tmp_path)
    expect_fault([str(tmp_path), message], "imagenet", tmp_path)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "I;16"])
def test_every_color_mode_becomes_rgb(tmp_path, mode):
    image = Image.new("I;16", (4, 4), 0x8000) if mode == "I;16" else Image.new("L", (4, 4), 128)
    image.convert(mode).save(tmp_path / "image.png", transparency=b"\0" if mode == "P" else None)
    decoded = decode_image(tmp_path / "image.png", "it")
    assert (decoded.mode, decoded.getpixel((0, 0))) == ("RGB", (128, 128, 128))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp"])
def test_damaged_image_is_named(tmp_path, kind):
    path = tmp_path / f"image.{kind}"
    Image.effect_noise((64, 64), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(qcli.DataError, match=f"{path}: cannot be decoded"):
        decode_image(path, str(path))
