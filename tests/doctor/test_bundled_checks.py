"""The checks that bundled plugins offer: data sets, onnx with onnxruntime, the C compiler."""

import gzip
import pickle
import struct

import numpy as np
import pytest

from qcli import HealthRequest
from qcli_datasets import health
from qcli_datasets.health import check_data
from qcli_exporters.health import check_compiler, check_onnx


def write_mnist(folder, count):
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        images = struct.pack(">IIII", 2051, count, 28, 28) + bytes(784 * count)
        labels = struct.pack(">II", 2049, count) + bytes(count)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(labels)


def write_cifar(folder):
    folder.mkdir(parents=True)
    batch = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]}
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps(batch))


def look(root, full=False):
    return list(check_data(HealthRequest(root, full)))


def test_data_without_a_place():
    (found,) = look(None)
    assert (found.severity, found.remedy) == ("note", "qcli doctor data -p DIR")


def test_data_in_no_folder(tmp_path):
    (found,) = look(tmp_path / "none")
    assert (found.severity, found.remedy) == ("error", f"mkdir -p {tmp_path}/none")
    (found,) = look(tmp_path)
    assert (found.severity, "--download" in found.remedy) == ("warning", True)


def test_data_with_other_counts_or_damage(tmp_path):
    write_mnist(tmp_path / "MNIST/raw", 3)
    write_cifar(tmp_path / "cifar-10-batches-py")
    mnist, cifar = look(tmp_path)
    assert mnist.text == (
        "mnist: 3 images for training, 3 for testing; published are 60,000 and 10,000"
    )
    assert cifar.text.startswith("cifar10: 10 images for training, 2 for testing; published")
    assert {mnist.severity, cifar.severity} == {"warning"}
    (tmp_path / "cifar-10-batches-py/test_batch").write_bytes(b"damage")
    (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte").unlink()
    mnist, cifar = look(tmp_path)
    assert "has no t10k-labels-idx1-ubyte" in mnist.text
    assert "test_batch: cannot be read" in cifar.text
    assert cifar.remedy == f"qcli data check cifar10 -p {tmp_path} --download"


def test_checksums_are_compared_when_asked_for(tmp_path, monkeypatch):
    write_mnist(tmp_path / "MNIST/raw", 3)
    names = sorted(path.name for path in (tmp_path / "MNIST/raw").iterdir())
    right = {f"MNIST/raw/{name}": health._md5(tmp_path / "MNIST/raw" / name) for name in names}
    published = health._Published("mnist", right, (1, 28, 28), (3, 3))
    monkeypatch.setattr(health, "_SETS", (published,))
    assert "checksums are compared with --full" in look(tmp_path)[0].text
    (found,) = look(tmp_path, full=True)
    assert (found.severity, "4 files as published" in found.text) == ("ok", True)
    labels = tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\1")
    (found,) = look(tmp_path, full=True)
    assert found.severity == "error"
    assert found.remedy.startswith(f"rm {labels}; qcli data check mnist")


def test_photographs(tmp_path):
    from PIL import Image

    for split in ("train", "val"):
        for label in ("n1", "n2"):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(folder / "a.png")
    assert "2 classes in train/" in look(tmp_path)[0].text
    (found,) = look(tmp_path, full=True)
    assert found.text.endswith("2 classes, 2 images for training, 2 for testing")
    (tmp_path / "val/n3").mkdir()
    (found,) = look(tmp_path, full=True)
    assert (found.severity, "n3" in found.text) == ("warning", True)
    (tmp_path / "pack.json").write_text("{}")
    assert look(tmp_path)[0].text == f"{tmp_path}: is a pack"


def test_onnx_runs_what_is_exported():
    (found,) = check_onnx(HealthRequest())
    assert (found.severity, "opset 21, IR 10 runs" in found.text) == ("ok", True), found


def test_onnx_that_cannot_be_run(monkeypatch):
    monkeypatch.setattr("qcli_exporters.onnx_integer.artifact.IR_VERSION", 99)
    (found,) = check_onnx(HealthRequest())
    assert (found.severity, "IR version" in found.text) == ("error", True), found
    assert found.remedy == 'pip install --upgrade "qcli[onnx]"'
    monkeypatch.setattr("qcli_exporters.health._version", lambda name: None)
    (found,) = check_onnx(HealthRequest())
    assert (found.severity, "onnx and onnxruntime not installed" in found.text) == ("note", True)


@pytest.mark.parametrize(
    ("command", "severity", "words"),
    [
        (None, "ok", "compiles C99"),
        ("nothing-like-it", "note", "no such C compiler"),
        ("false", "warning", "false does not compile"),
        ("true", "warning", "cannot be run"),
        ("", "ok", "compiles C99"),
    ],
)
def test_c_compiler(monkeypatch, command, severity, words):
    if command is None:
        monkeypatch.delenv("CC", raising=False)
    else:
        monkeypatch.setenv("CC", command)
    (found,) = check_compiler(HealthRequest())
    assert (found.severity, words in found.text) == (severity, True), found
    assert bool(found.remedy) == (severity != "ok")
