"""Data files that are cut, flipped, exchanged or wrong in a number: a message, at once.

Every file of MNIST (plain and compressed), CIFAR-10, photographs in folders, ImageNet's flat
layout, its archives, and of packs, in 25 ways: 60 cases in the fast set and 200 more in the slow
one. 75 cases with wrong numbers, odd images, links and names are in the fast set.
"""

import gzip
import io
import json
import os
import pickle
import random
import shutil
import struct

import numpy as np
import pytest
import torch
from damage import FILE_DAMAGES
from data_files import encode, write_archives, write_cifar, write_flat, write_idx, write_photographs
from invocation import invoke, snapshot
from PIL import Image
from safetensors.torch import load_file, save_file

import qcli
from qcli.errors import DataError
from qcli.training.jpeg import encode_jpeg
from qcli.training.jpeg_size import read_jpeg_size
from qcli.training.pack import read_pack

SETS = {
    "mnist": ("mnist", write_idx),
    "mnist_gz": ("mnist", lambda root: write_idx(root, ".gz")),
    "cifar10": ("cifar10", write_cifar),
    "folder": ("folder", write_photographs),
    "flat": ("imagenet", write_flat),
    "archives": ("imagenet", write_archives),
    "pack": ("folder", None),
    "raw_pack": ("folder", None),
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Return the folders of all data sets, whole."""
    root = tmp_path_factory.mktemp("data")
    for name, (_, write) in SETS.items():
        if write:
            write(root / name)
    for name, flags in (("pack", ()), ("raw_pack", ("--raw",))):
        made = ("data", "pack", "folder", "-p", root / "folder", "-o", root / name)
        assert invoke(*made, "--size", 12, "--workers", 0, *flags).code == 0
    return root


def check(name, root):
    return invoke("data", "check", SETS[name][0], "-p", root, "--all", "--json")


def test_whole_sets_are_taken(sets):
    for name in SETS:
        outcome = check(name, sets / name)
        # Small sets have not the published checksums; nothing else is said of them.
        told = [line for line in outcome.stderr.splitlines() if line.startswith("error: ")]
        assert all("is not as published" in line for line in told), outcome.stderr
        assert json.loads(outcome.stdout)["splits"]


def cases():
    return [(name, what) for name in SETS for what in FILE_DAMAGES]


def sweep(sets, chosen, folder, tally, seed):
    rng = random.Random(seed)
    failures = []
    for name, what in chosen:
        root = folder / "case"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(sets / name, root)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        file = rng.choice([path for path in files if path.suffix != ".npz"])
        FILE_DAMAGES[what](file)
        before = snapshot(root)
        outcome = check(name, root)
        kept = {key: state for key, state in snapshot(root).items() if "index.npz" not in key}
        lost = any(kept.get(key) != before[key] for key in before if "index.npz" not in key)
        tally.cases += 1
        tally.lost += lost
        tally.tracebacks += not outcome.is_clean
        if lost or not outcome.is_clean or outcome.code not in (0, 2):
            failures.append(f"{name} {file.name} {what}: {outcome.code} {outcome.stderr[-800:]}")
    assert not failures, "\n".join([f"{len(failures)} failures", *failures[:12]])


def test_some_damaged_data_files(sets, tmp_path, tally):
    sweep(sets, random.Random(0).sample(cases(), 60), tmp_path, tally, 0)


@pytest.mark.slow
def test_damaged_data_files(sets, tmp_path, tally):
    sweep(sets, cases(), tmp_path, tally, 1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-labels-idx1-ubyte", struct.pack(">2I", 2049, 12) + bytes([10] * 12), "label"),
        ("train-labels-idx1-ubyte", struct.pack(">2I", 2051, 12) + bytes(12), "2051"),
        ("train-labels-idx1-ubyte", struct.pack(">2I", 2049, 11) + bytes(11), "11 labels"),
        ("train-images-idx3-ubyte", struct.pack(">4I", 2051, 2**32 - 1, 28, 28), "asks for"),
        ("train-images-idx3-ubyte", struct.pack(">4I", 2051, 0, 28, 28), "0 images"),
        ("train-images-idx3-ubyte", struct.pack(">4I", 2051, 1, 1, 784) + bytes(784), "1x784"),
    ],
)
def test_wrong_numbers_in_idx(tmp_path, tally, name, content, message):
    tally.cases += 1
    write_idx(tmp_path)
    (tmp_path / "MNIST" / "raw" / name).write_bytes(content)
    outcome = check("mnist", tmp_path)
    assert outcome.is_clean
    assert outcome.code == 2
    assert name in outcome.stderr
    assert message in outcome.stderr


def test_a_compressed_bomb_is_refused(tmp_path, tally):
    tally.cases += 1
    write_idx(tmp_path, ".gz")
    file = io.BytesIO()
    with gzip.open(file, "wb", compresslevel=1) as packed:
        for _ in range(260):
            packed.write(bytes(1 << 20))
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").write_bytes(file.getvalue())
    outcome = check("mnist", tmp_path)
    assert outcome.is_clean
    assert "holds more than" in outcome.stderr


@pytest.mark.parametrize(
    "content",
    [
        b"r\xff\xff\xff\x7f.",
        b"\x80\x04\x96" + struct.pack("<Q", 1 << 60) + b".",
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
        b"L" + b"9" * 100_000 + b"\n.",
        b"(" * 100_000 + b".",
        pickle.dumps({"data": [1], "labels": 3}),
        pickle.dumps({"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 2, -1]}),
        pickle.dumps({"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 2, 10**30]}),
        pickle.dumps({"data": np.zeros((4, 3072), object), "labels": [0, 1, 2, 3]}),
        pickle.dumps(os.system),
    ],
)
def test_hostile_pickles(tmp_path, tally, content):
    tally.cases += 1
    write_cifar(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(content)
    outcome = check("cifar10", tmp_path)
    assert outcome.is_clean
    assert outcome.code == 2
    assert "data_batch_3: " in outcome.stderr


def change_shard(root, **changes):
    """Change tensors of a shard, and let the manifest know it: only the numbers are wrong."""
    (file,) = root.glob("train-*.safetensors")
    tensors = load_file(file)
    for name, change in changes.items():
        change(tensors[name])
    save_file(tensors, file)


def put(place, value):
    def change(tensor):
        tensor[place] = value

    return change


@pytest.mark.parametrize("kind", ["pack", "raw_pack"])
@pytest.mark.parametrize(
    "changes",
    [
        {"stops": put(0, -5)},
        {"stops": put(0, 10**12)},
        {"stops": put(1, 0)},
        {"stops": put(-1, 2**62)},
        {"labels": put(0, -1)},
        {"labels": put(0, 2)},
        {"sizes": put((0, 0), 0)},
        {"sizes": put((0, 0), -(2**62))},
        {"sizes": put(0, torch.tensor([60_000, 60_000]))},
    ],
)
def test_wrong_numbers_in_a_shard(sets, tmp_path, tally, kind, changes):
    tally.cases += 1
    root = shutil.copytree(sets / kind, tmp_path / "pack")
    change_shard(root, **changes)
    with pytest.raises(DataError, match="the index does not fit the images"):
        read_pack(root, "folder", {}, 3)


def test_a_size_in_a_jpeg_is_compared_before_it_is_decoded(sets, tmp_path, tally, monkeypatch):
    tally.cases += 1
    root = shutil.copytree(sets / "pack", tmp_path / "pack")

    def enlarge(content):
        start = bytes(content[:1000].tolist()).index(b"\xff\xc0")
        content[start + 5 : start + 9] = torch.tensor([255, 220, 255, 220])

    change_shard(root, content=enlarge)
    monkeypatch.setattr("qcli.training.jpeg.decode_jpeg", lambda _: pytest.fail("was decoded"))
    with pytest.raises(DataError, match="its size is not that of the index"):
        read_pack(root, "folder", {}, 3).train[0]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 5}, {"optimize": True}])
def test_sizes_of_jpeg_files(options):
    for size in ((1, 1), (7, 300), (513, 2)):
        file = io.BytesIO()
        Image.new("RGB", size).save(file, "JPEG", **options)
        assert read_jpeg_size(file.getvalue()) == size[::-1]
    assert read_jpeg_size(b"") is None
    assert read_jpeg_size(b"\xff\xd8" + b"\xff" * 50) is None


def test_the_size_of_a_damaged_jpeg_is_that_of_the_decoder():
    """Whatever the bytes are, the size is one that the decoder will find, or none."""
    found = [_compare_size(seed) for seed in range(200)]
    assert found.count("equal") > 100
    assert "different" not in found


def _compare_size(seed):
    rng = random.Random(seed)
    content = bytearray(encode(seed))
    for _ in range(3):
        content[rng.randrange(len(content))] = rng.randrange(256)
    found = read_jpeg_size(bytes(content))
    if found is None:
        return "none"
    try:
        with Image.open(io.BytesIO(bytes(content))) as image:
            return "equal" if image.size[::-1] == found else "different"
    except Exception:
        return


def test_the_encoder_of_packs_tells_the_size():
    pixels = torch.zeros(3, 40, 256, dtype=torch.uint8)
    assert read_jpeg_size(encode_jpeg(pixels, 90).numpy().tobytes()[:4096]) == (40, 256)
    assert qcli.Splits


def odd_images():
    """Return images of odd kinds by file name, as functions that write them."""
    draw = np.random.default_rng(0)
    color = Image.fromarray(draw.integers(0, 256, (40, 30, 3), dtype=np.uint8))
    frames = [color.rotate(angle) for angle in (0, 90, 180)]
    deep = Image.fromarray(draw.integers(0, 65536, (30, 20), dtype=np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = encode(1, size=(200, 100))

    def save(image, **options):
        return lambda path: image.save(path, **options)

    return {
        "cmyk.jpg": save(color.convert("CMYK")),
        "palette.png": save(color.convert("P")),
        "palette.gif": save(color.convert("P")),
        "transparent.png": save(color.convert("P"), transparency=3),
        "deep.png": save(deep),
        "deep.tif": save(deep),
        "one_bit.png": save(color.convert("1")),
        "gray.jpg": save(color.convert("L")),
        "la.png": save(color.convert("LA")),
        "rgba.png": save(color.convert("RGBA")),
        "rgba.webp": save(color.convert("RGBA")),
        "animated.gif": save(frames[0], save_all=True, append_images=frames[1:]),
        "animated.webp": save(frames[0], save_all=True, append_images=frames[1:]),
        "float.tiff": save(color.convert("F")),
        "ycbcr.jpg": save(color.convert("YCbCr")),
        "rotated.jpg": save(color, exif=exif),
        "progressive.jpg": save(color, progressive=True),
        "wrong_extension.png": lambda path: path.write_bytes(whole),
        "one_pixel.png": save(color.crop((0, 0, 1, 1))),
        "one_line.png": save(Image.new("RGB", (30_000, 1))),
        "bomb.png": lambda path: path.write_bytes(png_header(65_500, 65_500)),
        "no_size.png": lambda path: path.write_bytes(png_header(0, 0)),
        "truncated.jpg": lambda path: path.write_bytes(whole[: len(whole) // 2]),
        "header.jpg": lambda path: path.write_bytes(whole[:20]),
        "empty.jpg": lambda path: path.write_bytes(b""),
        "text.jpg": lambda path: path.write_text("no image"),
        "folder.jpg": lambda path: path.mkdir(),
        "pipe.jpg": os.mkfifo,
        "nowhere.jpg": lambda path: path.symlink_to("nowhere"),
        "loop.jpg": lambda path: path.symlink_to(path.name),
        "device.jpg": lambda path: path.symlink_to("/dev/zero"),
    }


def png_header(width, height):
    """Return a PNG file whose header asks for a size, without pixels."""
    from zlib import compress, crc32

    chunks = [(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))]
    chunks += [(b"IDAT", compress(bytes(100))), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc32(kind + body))
        for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


GOOD = {*list(odd_images())[:20]}


@pytest.mark.parametrize("name", odd_images())
def test_odd_images(sets, tmp_path, tally, name):
    tally.cases += 1
    root = shutil.copytree(sets / "folder", tmp_path / "data")
    odd_images()[name](root / "cat" / name)
    before = snapshot(root)
    outcomes = [check("folder", root)]
    pack = ("data", "pack", "folder", "-p", root, "-o", tmp_path / "pack", "--size", 12)
    outcomes.append(invoke(*pack, "--workers", 0))
    for outcome in outcomes:
        tally.tracebacks += not outcome.is_clean
        assert outcome.is_clean, outcome
        assert outcome.code == (0 if name in GOOD else 2), outcome
        assert name in GOOD or f"cat/{name}: " in outcome.stderr
    assert snapshot(root) == before
    if name in GOOD:
        packed = read_pack(tmp_path / "pack", "folder", {}, 3)
        assert len(packed.train) + len(packed.test) == 13
        for split in (packed.train, packed.test):
            assert all(split[index][0].mode == "RGB" for index in range(len(split)))


def test_links_among_folders(sets, tmp_path, tally):
    """A folder of a class may be a link; one that leads to itself is no class."""
    tally.cases += 1
    root = shutil.copytree(sets / "folder", tmp_path / "data")
    (root / "eel").symlink_to(root / "cat")
    (root / "loop").symlink_to("loop")
    (root / "up").symlink_to("nowhere")
    outcome = check("folder", root)
    assert outcome.is_clean
    assert outcome.code == 0
    assert sorted(json.loads(outcome.stdout)["class_names"]) == ["cat", "dog", "eel"]


@pytest.mark.parametrize("bad", ["\x1b[31mred", "a\nb", "-o", "[bold]x", "caf\udce9", "x" * 250])
def test_names_of_classes(sets, tmp_path, tally, bad):
    tally.cases += 1
    root = shutil.copytree(sets / "folder", tmp_path / "data")
    (root / "dog").rename(root / bad)
    for outcome in (
        check("folder", root),
        invoke("data", "check", "folder", "-p", root),
        invoke("data", "pack", "folder", "-p", root, "-o", tmp_path / "pack", "--workers", 0),
    ):
        tally.tracebacks += not outcome.is_clean
        assert outcome.is_clean, outcome
        assert outcome.code == 0
    assert read_pack(tmp_path / "pack", "folder", {}, 3).class_names[1 - (bad < "cat")] == bad
