"""Packs: what is stored of photographs, and what is said of packs that are damaged."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

from qcli.errors import DataError, UsageError
from qcli.training.jpeg import decode_by_pillow, decode_jpeg, encode_jpeg
from qcli.training.pack import MANIFEST, Source, find_damage, read_pack
from qcli.training.packing import pack_splits
from qcli.training.shard import read_index
from qcli.training.splits import ArraySplit, Normalization, Splits
from qcli_datasets.image_files import ImageFiles

SIZE = 24
NORMALIZATION = Normalization((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
COUNTS = {"train": 11, "test": 7}


def write_photographs(folder, count):
    """Write smooth pictures of several sizes and color modes, some smaller than SIZE."""
    folder.mkdir()
    draw = np.random.default_rng(count)
    names = [f"{number}.{'jpg' if number % 2 else 'png'}" for number in range(count)]
    for number, name in enumerate(names):
        coarse = Image.fromarray(draw.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        image = coarse.resize((50 - 3 * number, 16 + 4 * number), Image.Resampling.BICUBIC)
        image.convert("L" if number % 5 == 0 else "RGB").save(folder / name)
    return ImageFiles(folder, names, [number % 3 for number in range(count)])


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    root = tmp_path_factory.mktemp("photographs")
    train, test = (write_photographs(root / name, count) for name, count in COUNTS.items())
    return Splits(train, test, 3, NORMALIZATION, ["ant", "bee", "cow"])


def source(quality):
    return Source("folder", {"a": 1}, "/data", SIZE, quality)


def pack(splits, target, quality=90, workers=0, on_progress=lambda done, total: None):
    return pack_splits(splits, source(quality), target, workers, on_progress, images_per_shard=4)


def opened(path):
    return read_pack(path, "folder", {"a": 1}, 3)


@pytest.fixture(scope="module")
def packs(splits, tmp_path_factory):
    root = tmp_path_factory.mktemp("packs")
    for name, quality in (("raw", None), ("jpeg", 90)):
        pack(splits, root / name, quality)
    return root


def shrunk(image):
    """Return the photograph with its shorter side at SIZE, unless it is smaller."""
    pixels = pil_to_tensor(image)
    return v2.Resize(SIZE)(pixels) if min(image.size) > SIZE else pixels


def test_a_raw_pack_holds_the_resized_pixels(splits, packs):
    found = opened(packs / "raw")
    assert (found.num_classes, found.class_names) == (3, ["ant", "bee", "cow"])
    assert found.normalization == Normalization([0.5] * 3, [0.2] * 3)
    sides = set()
    for packed, photographs in ((found.train, splits.train), (found.test, splits.test)):
        assert len(packed) == len(photographs)
        for index, label in enumerate(packed.labels.tolist()):
            image, wanted = photographs[index]
            assert label == wanted == packed[index][1]
            assert torch.equal(packed.pixels(index), shrunk(image))
            assert torch.equal(pil_to_tensor(packed[index][0]), packed.pixels(index))
            assert packed.sizes[index].tolist() == list(packed.pixels(index).shape[1:])
            sides.add(min(packed.sizes[index].tolist()))
    assert max(sides) == SIZE
    assert min(sides) < SIZE


def test_a_jpeg_pack_holds_nearly_those(splits, packs):
    packed = opened(packs / "jpeg").train
    for index in range(len(packed)):
        wanted = shrunk(splits.train[index][0])
        difference = (packed.pixels(index).int() - wanted.int()).abs().float()
        assert difference.mean() < 6
        assert not torch.equal(packed.pixels(index), wanted)


def test_both_decoders_give_the_same_pixels(splits):
    for index in range(len(splits.train)):
        content = encode_jpeg(shrunk(splits.train[index][0]), 80)
        assert torch.equal(decode_jpeg(content), decode_by_pillow(content))


def test_pillow_decodes_where_torchvision_cannot(splits, monkeypatch):
    content = encode_jpeg(shrunk(splits.train[0][0]), 80)
    expected = decode_jpeg(content)
    monkeypatch.setattr(torch.ops, "image", None)
    assert torch.equal(decode_jpeg(content), expected)


@pytest.mark.parametrize("quality", [None, 90])
def test_the_bytes_do_not_depend_on_the_workers(splits, packs, tmp_path, quality):
    pack(splits, tmp_path / "two", quality, workers=2)
    alone = packs / ("raw" if quality is None else "jpeg")
    names = sorted(path.name for path in alone.iterdir())
    assert names == [
        MANIFEST,
        *(f"test-{number:05}.safetensors" for number in range(2)),
        *(f"train-{number:05}.safetensors" for number in range(3)),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["two"]
    for name in names:
        assert (alone / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_progress_counts_every_image(splits, tmp_path):
    heard = []
    pack(splits, tmp_path / "pack", on_progress=lambda *numbers: heard.append(numbers))
    assert sorted(set(heard)) == [(done, 18) for done in range(19)]
    assert heard == sorted(heard)


class Stopped(Exception):
    pass


def stop_at(number):
    def on_progress(done, total):
        if done == number:
            raise Stopped

    return on_progress


def test_a_stopped_pack_goes_on_where_it_was(splits, packs, tmp_path):
    target = tmp_path / "pack"
    with pytest.raises(Stopped):
        pack(splits, target, on_progress=stop_at(10))
    assert not target.exists()
    unfinished = tmp_path / ".pack.unfinished"
    first = unfinished / "train-00000.safetensors"
    written = first.stat().st_mtime_ns
    heard = []
    pack(splits, target, on_progress=lambda done, total: heard.append(done))
    # Two shards of four were there.
    assert heard[0] == 8
    assert (target / first.name).stat().st_mtime_ns == written
    for path in (packs / "jpeg").iterdir():
        assert path.read_bytes() == (target / path.name).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_an_unfinished_pack_of_something_else_is_left_alone(splits, tmp_path):
    with pytest.raises(Stopped):
        pack(splits, tmp_path / "pack", on_progress=stop_at(5))
    with pytest.raises(UsageError, match=r"\.pack\.unfinished: holds an unfinished pack of other"):
        pack(splits, tmp_path / "pack", quality=80)
    pack(splits, tmp_path / "pack")


def test_a_pack_is_not_written_over(splits, tmp_path):
    (tmp_path / "pack").mkdir()
    with pytest.raises(UsageError, match="pack: exists already; choose another -o DIR, or delete"):
        pack(splits, tmp_path / "pack")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_photograph_is_named(splits, tmp_path, workers):
    shutil.copytree(splits.train.folder, tmp_path / "train")
    broken = tmp_path / "train" / "6.png"
    broken.write_bytes(broken.read_bytes()[:40])
    names = [f"{number}.{'jpg' if number % 2 else 'png'}" for number in range(11)]
    damaged = Splits(ImageFiles(tmp_path / "train", names, [0] * 11), splits.test, 3)
    with pytest.raises(DataError) as caught:
        pack(damaged, tmp_path / "pack", workers=workers)
    assert str(caught.value).startswith(f"{broken}: cannot be decoded as an image: ")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "pack").exists()


def test_what_is_in_memory_or_packed_is_not_packed(packs, tmp_path):
    images = ArraySplit(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    with pytest.raises(DataError, match=r"^folder: lies in memory, which is faster"):
        pack(Splits(images, images, 2), tmp_path / "pack")
    with pytest.raises(DataError, match=r"^/data: is a pack already; pass -p DIR with the photo"):
        pack(opened(packs / "jpeg"), tmp_path / "pack")
    assert list(tmp_path.iterdir()) == []


def change_manifest(root, **changes):
    path = root / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def cut(path, count):
    path.write_bytes(path.read_bytes()[:-count])


def spoil(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 255
    path.write_bytes(content)


def shorten_index(root):
    """Cut a shard inside its header and write down its new length."""
    path = root / "train-00001.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    document = json.loads((root / MANIFEST).read_text())
    document["shards"]["train"][1]["bytes"] = 100
    (root / MANIFEST).write_text(json.dumps(document))


def change_record(root, **changes):
    document = json.loads((root / MANIFEST).read_text())
    document["shards"]["train"][0] |= changes
    (root / MANIFEST).write_text(json.dumps(document))


def empty_train(root):
    document = json.loads((root / MANIFEST).read_text())
    document["shards"]["train"] = []
    (root / MANIFEST).write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (empty_train, "holds no images of train"),
        (lambda root: change_record(root, name="../train-00000.safetensors"), "a file beside it"),
        (lambda root: change_record(root, name="/etc/passwd"), "a file beside it"),
        (lambda root: change_record(root, name="a\0b"), "a file beside it"),
        (lambda root: change_record(root, name=5), "a file beside it"),
        (lambda root: change_record(root, images="4"), "expected numbers of images and bytes"),
        (lambda root: change_record(root, bytes=-1), "expected numbers of images and bytes"),
        (lambda root: change_manifest(root, version=2), "found qcli pack 2, expected qcli pack 1"),
        (
            lambda root: change_manifest(root, format="x"),
            "pack.json: found x 1, expected qcli pack",
        ),
        (lambda root: change_manifest(root, shards={}), "pack.json: cannot be read: KeyError"),
        (lambda root: change_manifest(root, source={}), "pack.json: cannot be read: TypeError"),
        (lambda root: (root / MANIFEST).write_text("[1"), "pack.json: cannot be read: JSONDecode"),
        (lambda root: cut(root / "train-00001.safetensors", 9), "train-00001.safetensors: has "),
        (lambda root: (root / "test-00000.safetensors").unlink(), "s: No such file or directory; "),
        (shorten_index, "train-00001.safetensors: cannot be read: "),
    ],
)
def test_a_damaged_pack_is_told_when_it_is_opened(packs, tmp_path, damage, message):
    root = shutil.copytree(packs / "jpeg", tmp_path / "pack")
    damage(root)
    with pytest.raises(DataError) as caught:
        opened(root)
    assert str(root) in str(caught.value)
    assert message in str(caught.value)
    assert "again" in str(caught.value)


def test_checksums_find_what_is_damaged(packs, tmp_path):
    root = shutil.copytree(packs / "raw", tmp_path / "pack")
    assert find_damage(root) == []
    path = root / "train-00002.safetensors"
    spoil(path, -1)
    (root / "test-00001.safetensors").unlink()
    found = find_damage(root)
    assert len(found) == 2
    assert found[0].startswith(f"{path}: its SHA-256 is ")
    assert found[1].startswith(f"{root / 'test-00001.safetensors'}: No such file")


def test_a_damaged_image_is_told_when_it_is_decoded(packs, tmp_path):
    root = shutil.copytree(packs / "jpeg", tmp_path / "pack")
    path = root / "train-00000.safetensors"
    content = path.read_bytes()
    start = read_index(path, 1024, 1000).stops[0].item()
    # Every JPEG file begins with these bytes.
    place = content.index(b"\xff\xd8", content.index(b"\xff\xd8") + 2)
    path.write_bytes(content[:place] + bytes(60) + content[place + 60 :])
    images = opened(root).train
    text = rf"train-00000\.safetensors: the image at byte {start} cannot be decoded: "
    with pytest.raises(DataError, match=text):
        images.pixels(1)


@pytest.mark.parametrize(
    ("dataset", "options", "channels", "message"),
    [
        ("imagenet", {}, 3, "is a pack of folder, not of imagenet; use -d folder"),
        ("folder", {"a": 2}, 3, 'was packed with the option "a" as 1, found 2; remove the option'),
        ("folder", {"a": 1}, 1, "packed photographs have 3 channels, found 1"),
    ],
)
def test_a_pack_of_something_else_is_refused(packs, dataset, options, channels, message):
    with pytest.raises(DataError) as caught:
        read_pack(packs / "raw", dataset, options, channels)
    assert str(caught.value).startswith(f"{packs / 'raw'}: ")
    assert message in str(caught.value)


def test_another_process_maps_the_files_itself(packs):
    images = opened(packs / "raw").train
    expected = images.pixels(5)
    assert images.contents
    again = pickle.loads(pickle.dumps(images))
    assert not again.contents
    assert torch.equal(again.pixels(5), expected)


def test_images_can_be_selected(packs):
    images = opened(packs / "raw").train
    chosen = images.select(torch.tensor([7, 2]))
    assert len(chosen) == 2
    assert torch.equal(chosen.pixels(0), images.pixels(7))
    assert chosen.labels.tolist() == [7 % 3, 2]
