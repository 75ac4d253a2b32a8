"""Photographs in folders of classes, and in the archives that ImageNet is published as."""

from __future__ import annotations

import importlib
import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

import qcli
import qcli_datasets
from qcli.testing.dataset import check_dataset
from qcli.training.batches import Normalizer, Process
from qcli.training.streaming import StreamedEvaluation
from qcli.training.transforms import evaluation_transform

ENTRIES = {entry.name: entry for entry in qcli_datasets.qcli_register_datasets()}
SHAPE = (3, 224, 224)
COUNTS = {"cat": 10, "dog": 5, "eel": 2}
SUFFIXES = ("jpg", "JPEG", "png", "bmp", "webp", "gif", "ppm", "pgm", "tif", "tiff")
# WordNet ids by the numbers of the ground truth, which do not follow their order.
CLASS_OF = {1: "n30", 2: "n10", 3: "n20"}
TRUTH = [2, 3, 3, 1]


def build(name: str, root: Path | None, shape: Any = SHAPE, **options: Any) -> qcli.Splits:
    module, function = str(ENTRIES[name].build).split(":")
    splits: qcli.Splits = getattr(importlib.import_module(module), function)(root, shape, **options)
    return splits


def describe(images: Any) -> list[tuple[int, int]]:
    """Return the width and the label of each image: the width tells which it is."""
    found = (images[index] for index in range(len(images)))
    return [(image.width, label) for image, label in found]


def write_classes(folder: Path, counts: dict[str, int], first_width: int = 1) -> None:
    width = first_width
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            path = folder / name / f"{number}.{SUFFIXES[number % len(SUFFIXES)]}"
            mode = "L" if path.suffix == ".pgm" else "RGB"
            Image.new(mode, (width, 8)).save(path)
            width += 1


def test_a_folder_without_a_split_is_split_by_class(tmp_path):
    write_classes(tmp_path, COUNTS)
    splits = build("folder", tmp_path)
    assert (splits.num_classes, splits.class_names) == (3, ["cat", "dog", "eel"])
    train, test = describe(splits.train), describe(splits.test)
    # Every image once: widths 1 to 17, ten cats, five dogs, two eels.
    assert sorted(width for width, _ in train + test) == list(range(1, 18))
    assert all(label == (width > 10) + (width > 15) for width, label in train + test)
    # A fifth of 10, of 5, and of 2 at least one.
    assert np.bincount([label for _, label in test]).tolist() == [2, 1, 1]
    check_dataset(ENTRIES["folder"], tmp_path)


def test_the_seed_and_the_fraction_decide_what_is_for_testing(tmp_path):
    write_classes(tmp_path, COUNTS)
    one, same, other = (
        describe(build("folder", tmp_path, split_seed=seed).test) for seed in (0, 0, 1)
    )
    assert one == same != other
    half = build("folder", tmp_path, test_fraction=0.5).test
    assert np.bincount([label for _, label in describe(half)]).tolist() == [5, 2, 1]
    most = build("folder", tmp_path, test_fraction=0.99)
    assert np.bincount([label for _, label in describe(most.train)]).tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", ["test", "val"])
def test_a_folder_with_a_split_keeps_it(tmp_path, name):
    write_classes(tmp_path / "train", COUNTS)
    write_classes(tmp_path / name, {"eel": 1, "cat": 1}, first_width=50)
    splits = build("folder", tmp_path)
    assert len(splits.train) == 17
    assert describe(splits.test) == [(51, 0), (50, 2)]


def test_test_comes_before_val(tmp_path):
    for name, width in (("train", 1), ("val", 40), ("test", 50)):
        write_classes(tmp_path / name, {"a": 1, "b": 1}, first_width=width)
    assert describe(build("folder", tmp_path).test) == [(50, 0), (51, 1)]


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        ({}, {}, "the number of folders is 0; expected one for each of 2 or more classes: CLASS/"),
        ({"a": 1, "b": 2}, {}, "a: holds 1 image; expected 2 or more, one of them for testing"),
        ({"a": 2, "b": 0}, {}, "b: holds no images; expected files ending in .jpg, "),
        ({"train/a": 1, "train/b": 1}, {}, "holds train/, but neither test/ nor val/"),
        (
            {"train/a": 1, "train/b": 1, "val/c": 1},
            {},
            "val/c: there is no folder of this name in ",
        ),
        (
            {"train/a": 1, "train/b": 1, "val/b": 1},
            {"test_fraction": 0.1},
            'the option "test_fraction" would be of no use; remove it',
        ),
        (
            {"train/a": 1, "train/b": 1, "val/b": 1},
            {"split_seed": 1},
            'the option "split_seed" would be of no use; remove it',
        ),
    ],
)
def test_faults_in_a_folder(tmp_path, counts, options, message):
    write_classes(tmp_path, counts)
    with pytest.raises(qcli.DataError) as caught:
        build("folder", tmp_path, **options)
    assert str(tmp_path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["folder", "imagenet"])
def test_photographs_are_never_gray(tmp_path, name):
    with pytest.raises(qcli.DataError, match=f"^{name}: photographs have 3 channels, found 1; "):
        build(name, tmp_path, (1, 28, 28))


def test_a_folder_that_is_missing_or_not_named():
    with pytest.raises(qcli.DataError, match=r"^folder needs -p DIR: the directory that holds CLA"):
        build("folder", None)
    with pytest.raises(qcli.DataError, match=r"^nowhere: No such file .*expected CLASS/IMAGE.* -p"):
        build("folder", Path("nowhere"))


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> bytes:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path.read_bytes()


def encode(width: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, 8)).save(file, "JPEG")
    return file.getvalue()


def write_meta() -> bytes:
    """Write the table of classes as the development kit has it; the last has children."""
    rows = [
        (number, name, "words", "gloss", children, np.arange(children), 2.0, 3)
        for number, name, children in [*((*pair, 0) for pair in CLASS_OF.items()), (4, "n99", 3)]
    ]
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children")
    kinds = [(name, "O") for name in (*fields, "wordnet_height", "num_train_images")]
    file = io.BytesIO()
    savemat(file, {"synsets": np.array(rows, kinds)})
    return file.getvalue()


def write_archives(root: Path, truth: list[int] = TRUTH) -> None:
    """Write 3 training images of each of 3 classes, and 4 for validation, in disorder."""
    inner = {}
    for place, name in enumerate(["n20", "n30", "n10"]):
        images = {f"{name}_{n}.JPEG": encode(10 * place + n) for n in (3, 1, 2)}
        inner[f"{name}.tar"] = make_tar(root / "inner.tar", images)
    (root / "inner.tar").unlink()
    make_tar(root / "ILSVRC2012_img_train.tar", inner)
    val = {f"ILSVRC2012_val_{n:08}.JPEG": encode(100 + n) for n in (2, 1, 4, 3)}
    make_tar(root / "ILSVRC2012_img_val.tar", val)
    folder = "ILSVRC2012_devkit_t12/data"
    kit = {
        f"{folder}/ILSVRC2012_validation_ground_truth.txt": "".join(
            f"{number}\n" for number in truth
        ).encode(),
        f"{folder}/meta.mat": write_meta(),
    }
    make_tar(root / "ILSVRC2012_devkit_t12.tar.gz", kit, "w:gz")


@pytest.mark.parametrize("layout", ["auto", "archives"])
def test_imagenet_is_read_from_its_archives(tmp_path, layout):
    write_archives(tmp_path)
    splits = build("imagenet", tmp_path, layout=layout)
    assert (splits.num_classes, splits.class_names) == (3, ["n10", "n20", "n30"])
    # The archives of n20, n30 and n10 hold widths from 1, 11 and 21.
    widths = [21, 22, 23, 1, 2, 3, 11, 12, 13]
    labels = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert describe(splits.train) == list(zip(widths, labels, strict=True))
    # The labels of the ground truth stand for n10, n20, n20, n30.
    expected = [(101, 0), (102, 1), (103, 1), (104, 2)]
    assert describe(pickle.loads(pickle.dumps(splits.test))) == expected
    assert not (tmp_path / "train").exists()


def test_the_index_is_kept_until_the_archive_changes(tmp_path):
    write_archives(tmp_path)
    first = describe(build("imagenet", tmp_path).train)
    kept = tmp_path / "ILSVRC2012_img_train.tar.index.npz"
    written = kept.stat().st_mtime_ns
    assert describe(build("imagenet", tmp_path).train) == first
    assert kept.stat().st_mtime_ns == written
    kept.write_bytes(b"damaged")
    assert describe(build("imagenet", tmp_path).train) == first
    os.utime(tmp_path / "ILSVRC2012_img_train.tar", ns=(0, 0))
    before = kept.read_bytes()
    assert describe(build("imagenet", tmp_path).train) == first
    assert kept.read_bytes() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ILSVRC2012_devkit_t12.tar.gz",
        "ILSVRC2012_img_train.tar",
        "ILSVRC2012_img_train.tar.index.npz",
        "ILSVRC2012_img_val.tar",
        "ILSVRC2012_img_val.tar.index.npz",
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ILSVRC2012_img_train.tar", None, "has no ILSVRC2012_img_train.tar; expected ILSVRC2012"),
        ("ILSVRC2012_img_val.tar", None, "has no ILSVRC2012_img_val.tar; expected ILSVRC2012_img"),
        ("ILSVRC2012_img_val.tar", b"x" * 2000, "img_val.tar: cannot be read: "),
        ("ILSVRC2012_devkit_t12.tar.gz", b"x" * 2000, "devkit_t12.tar.gz: cannot be read: "),
    ],
)
def test_faults_of_archives(tmp_path, name, content, message):
    write_archives(tmp_path)
    (tmp_path / name).unlink()
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(qcli.DataError) as caught:
        build("imagenet", tmp_path, layout="archives")
    assert str(tmp_path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("truth", [[2, 3, 3], [2, 3, 3, 9]])
def test_labels_must_fit_the_images(tmp_path, truth):
    write_archives(tmp_path, truth)
    text = f"holds 4 images; ILSVRC2012_devkit_t12.tar.gz has {len(truth)} labels for 3 classes; "
    with pytest.raises(qcli.DataError, match=text):
        build("imagenet", tmp_path)


def test_classes_must_be_those_of_the_development_kit(tmp_path):
    write_archives(tmp_path)
    inner = make_tar(tmp_path / "inner.tar", {"n10_1.JPEG": encode(3)})
    make_tar(tmp_path / "ILSVRC2012_img_train.tar", {"n10.tar": inner})
    with pytest.raises(qcli.DataError, match="the class n20 is only there or only in ILSVRC2012_d"):
        build("imagenet", tmp_path)


def test_a_damaged_image_of_an_archive_is_named(tmp_path):
    write_archives(tmp_path)
    path = tmp_path / "ILSVRC2012_img_val.tar"
    index = build("imagenet", tmp_path).test.index
    content = bytearray(path.read_bytes())
    content[index.offsets[1] : index.offsets[1] + 100] = bytes(100)
    path.write_bytes(content)
    text = r"img_val.tar: ILSVRC2012_val_00000002.JPEG: cannot be decoded as an image: "
    with pytest.raises(qcli.DataError, match=text):
        build("imagenet", tmp_path).test[1]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_archive_that_goes_away_is_told_in_one_line(tmp_path, workers):
    write_archives(tmp_path)
    path = tmp_path / "ILSVRC2012_img_val.tar"
    test = build("imagenet", tmp_path).test
    path.rename(tmp_path / "elsewhere.tar")
    cpu = torch.device("cpu")
    transform = evaluation_transform((8, 8), None)
    process = Process(0, 1, cpu)
    batches = StreamedEvaluation(test, 2, transform, Normalizer(None, False, cpu), workers, process)
    with pytest.raises(qcli.DataError) as caught:
        next(iter(batches))
    text = str(caught.value)
    assert text.startswith(f"{path}: cannot be read: ")
    assert "\n" not in text


@pytest.mark.parametrize("place", [-5, -1])
def test_the_checksum_of_a_compressed_archive_is_checked(tmp_path, place):
    """The last 8 bytes are the checksum of what was compressed, and its length (RFC 1952)."""
    write_archives(tmp_path)
    path = tmp_path / "ILSVRC2012_devkit_t12.tar.gz"
    content = bytearray(path.read_bytes())
    content[place] ^= 255
    path.write_bytes(content)
    with pytest.raises(qcli.DataError, match=r"devkit_t12\.tar\.gz: cannot be read: "):
        build("imagenet", tmp_path)


@pytest.mark.parametrize("layout", ["auto", "archives", "folder"])
def test_a_list_of_labels_without_effect_is_refused(tmp_path, layout):
    if layout == "folder":
        write_classes(tmp_path, {"train/a": 1, "train/b": 1, "val/b": 1})
    else:
        write_archives(tmp_path)
    with pytest.raises(qcli.DataError, match='the option "val_list" would be of no use; remove it'):
        build("imagenet", tmp_path, layout=layout, val_list="other.txt")
