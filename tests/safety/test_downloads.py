"""What is fetched is compared with a checksum before anything reads it; a run fetches nothing."""

import gzip
import hashlib
import io
import json
import pickle
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from invocation import invoke


def make_archive(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            if content is None:
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc"
                archive.addfile(entry)
                continue
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Where torchvision fetches from, in place of its servers."""
    from torchvision import datasets

    (tmp_path / "mirror").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "mirror"))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    place = f"http://127.0.0.1:{server.server_port}"
    for name in ("CIFAR10", "CIFAR100"):
        source = getattr(datasets, name)
        monkeypatch.setattr(source, "url", f"{place}/{source.filename}")
    for name in ("MNIST", "FashionMNIST"):
        monkeypatch.setattr(getattr(datasets, name), "mirrors", [f"{place}/{name}/"])
        (tmp_path / "mirror" / name).mkdir()
    yield tmp_path / "mirror"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("number", ["10", "100"])
def test_an_archive_with_another_checksum_is_not_unpacked(mirror, tmp_path, number):
    name = {"10": "cifar-10-python.tar.gz", "100": "cifar-100-python.tar.gz"}[number]
    make_archive(mirror / name, {"../outside": b"x", "inside": b"x", "link": None})
    outcome = invoke("data", "check", f"cifar{number}", "-p", tmp_path / "data", "--download")
    assert outcome.code == 2, outcome.stderr
    assert "could not be downloaded" in outcome.stderr
    assert not (tmp_path / "outside").exists()
    assert {file.name for file in (tmp_path / "data").iterdir()} <= {name, f".cifar{number}.lock"}


def test_an_archive_that_lies_there_already_is_compared_too(mirror, tmp_path):
    (tmp_path / "data").mkdir()
    make_archive(tmp_path / "data/cifar-10-python.tar.gz", {"../outside": b"x"})
    outcome = invoke("data", "check", "cifar10", "-p", tmp_path / "data", "--download")
    assert outcome.code == 2
    assert not (tmp_path / "outside").exists()


def test_an_archive_with_its_checksum_is_used(mirror, tmp_path, monkeypatch):
    """So that the tests above cannot pass for another reason."""
    from torchvision import datasets

    batch = pickle.dumps({"data": [], "labels": []})
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    path = mirror / datasets.CIFAR10.filename
    make_archive(path, {f"cifar-10-batches-py/{name}": batch for name in names})
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
    outcome = invoke("data", "check", "cifar10", "-p", tmp_path / "data", "--download")
    assert "data is no array of images" in outcome.stderr


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")]
)
def test_files_with_another_checksum_are_not_unpacked(mirror, tmp_path, name, folder):
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (mirror / folder / f"{part}-ubyte.gz").write_bytes(gzip.compress(b"anything"))
    outcome = invoke("data", "check", name, "-p", tmp_path / "data", "--download")
    assert outcome.code == 2, outcome.stderr
    assert "could not be downloaded" in outcome.stderr
    found = {file.name for file in (tmp_path / "data" / folder / "raw").iterdir()}
    assert found <= {"train-images-idx3-ubyte.gz"}


def test_a_cache_of_torchvision_is_not_loaded(mirror, tmp_path, arm, mark):
    """Its constructor would load it, were one there."""
    folder = tmp_path / "data/MNIST/processed"
    folder.mkdir(parents=True)
    for name in ("training.pt", "test.pt"):
        (folder / name).write_bytes(arm(carrier="zipped"))
    outcome = invoke("data", "check", "mnist", "-p", tmp_path / "data", "--download")
    assert (outcome.code, mark.exists()) == (2, False)
    assert "could not be downloaded" in outcome.stderr


@pytest.mark.parametrize("words", [("eval",), ("train", "--resume")])
def test_a_given_run_fetches_nothing(given, tmp_path, mirror, words):
    from qcli.training.run_directory import RunDirectory

    recipe = json.loads((given / "training.json").read_text())
    recipe["dataset"] = {"name": "mnist", "download": True}
    (given / "training.json").write_text(json.dumps(recipe))
    record = json.loads((given / "run.json").read_text())
    record |= {"data_root": str(tmp_path / "anywhere")}
    record |= {"recipes_sha256": RunDirectory(given).recipes_hash()}
    (given / "run.json").write_text(json.dumps(record))
    outcome = invoke(*words, given)
    assert (outcome.code, outcome.is_clean) == (2, True), outcome.stderr
    assert "mnist has no" in outcome.stderr
    assert not (tmp_path / "anywhere").exists()


def test_networks_come_without_weights(monkeypatch):
    """No network is built with weights from somewhere else: nothing is fetched behind the back."""
    import socket

    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert invoke("plan", "-a", "torchvision:resnet18", "-d", "imagenet").code == 0
    assert invoke("plan", "-a", "timm:resnet10t", "-d", "imagenet").code == 0
