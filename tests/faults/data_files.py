"""Small data sets in the published formats, to be damaged."""

import gzip
import io
import pickle
import struct
import tarfile

import numpy as np
from PIL import Image
from scipy.io import savemat


def write_idx(root, suffix=""):
    """Write MNIST with 12 training and 5 test images."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in (("train", 12), ("t10k", 5)):
        for name, magic, shape in (
            ("images-idx3", 2051, (count, 28, 28)),
            ("labels-idx1", 2049, (count,)),
        ):
            values = bytes(index % 10 for index in range(int(np.prod(shape))))
            content = struct.pack(f">{1 + len(shape)}I", magic, *shape) + values
            packed = gzip.compress(content, mtime=0) if suffix else content
            (folder / f"{part}-{name}-ubyte{suffix}").write_bytes(packed)


def write_cifar(root):
    """Write CIFAR-10 with 4 images in each file, as Python 2 pickled them."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images = np.arange(4 * 3072, dtype=np.uint8).reshape(4, 3072)
    content = pickle.dumps({"data": images, "labels": [0, 1, 2, 9]}, protocol=2)
    for text in (b"data", b"labels", b"u1"):
        length = struct.pack("<I", len(text))
        content = content.replace(b"X" + length + text, b"T" + length + text)
    content = content.replace(b"numpy._core", b"numpy.core")
    for number in range(1, 6):
        (folder / f"data_batch_{number}").write_bytes(content)
    (folder / "test_batch").write_bytes(content)
    names = {"label_names": [f"class {number}" for number in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))


def encode(seed, kind="JPEG", size=(20, 16)):
    """Return a small photograph as a file."""
    draw = np.random.default_rng(seed)
    image = Image.fromarray(draw.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize(size)
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def write_photographs(root, kind="JPEG", count=6):
    """Write photographs of two classes."""
    for label, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number}.jpg").write_bytes(encode(10 * label + number, kind))


def write_flat(root):
    """Write ImageNet's flat layout."""
    write_photographs(root / "train")
    (root / "val").mkdir()
    for number in range(4):
        (root / "val" / f"{number}.jpg").write_bytes(encode(number))
    (root / "val.txt").write_text("".join(f"{n}.jpg {n % 2}\n" for n in range(4)), "utf-8")


def _tar(files, mode="w"):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def write_archives(root):
    """Write ImageNet's archives with two classes."""
    root.mkdir(parents=True, exist_ok=True)
    classes = {1: "n20", 2: "n10"}
    inner = {
        f"{name}.tar": _tar({f"{name}_{n}.JPEG": encode(n) for n in range(3)})
        for name in classes.values()
    }
    (root / "ILSVRC2012_img_train.tar").write_bytes(_tar(inner))
    val = {f"ILSVRC2012_val_{n:08}.JPEG": encode(n) for n in range(1, 5)}
    (root / "ILSVRC2012_img_val.tar").write_bytes(_tar(val))
    rows = [
        (number, name, "words", "gloss", children, np.arange(children), 2.0, 3)
        for number, name, children in ((1, "n20", 0), (2, "n10", 0), (3, "n99", 3))
    ]
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children")
    kinds = [(name, "O") for name in (*fields, "wordnet_height", "num_train_images")]
    meta = io.BytesIO()
    savemat(meta, {"synsets": np.array(rows, kinds)})
    folder = "ILSVRC2012_devkit_t12/data"
    kit = {
        f"{folder}/ILSVRC2012_validation_ground_truth.txt": b"1\n2\n1\n2\n",
        f"{folder}/meta.mat": meta.getvalue(),
    }
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(_tar(kit, "w:gz"))
