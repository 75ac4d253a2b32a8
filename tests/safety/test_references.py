"""Files that name other files, archives and ONNX: those outside their folder are left alone."""

import io
import os
import tarfile

import numpy as np
import pytest
from invocation import invoke, snapshot

from qcli_datasets.archive import index_archive, read_members

KINDS = {
    "symlink": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "device": tarfile.CHRTYPE,
    "pipe": tarfile.FIFOTYPE,
}


@pytest.mark.parametrize("kind", KINDS)
def test_members_of_other_kinds_are_no_images(tmp_path, kind):
    (tmp_path / "secret").write_bytes(b"secret")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        entry = tarfile.TarInfo("link.png")
        entry.type, entry.linkname = KINDS[kind], str(tmp_path / "secret")
        archive.addfile(entry)
    assert index_archive(tmp_path / "a.tar").names.tolist() == []


@pytest.mark.parametrize("name", ["../../out.png", "/tmp/out.png", "..", "a/../../out.png"])
def test_archives_are_never_unpacked(tmp_path, name):
    folder = tmp_path / "a/b"
    folder.mkdir(parents=True)
    for path, mode in ((folder / "a.tar", "w"), (folder / "a.tar.gz", "w:gz")):
        with tarfile.open(path, mode) as archive:
            entry = tarfile.TarInfo(name)
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"abc"))
    before = snapshot(tmp_path)
    names = index_archive(folder / "a.tar").names.tolist()
    assert [each for each in names if b"/" in each] == []
    if name.endswith(".png"):
        assert read_members(folder / "a.tar.gz", ("out.png",)) == [b"abc"]
    new = snapshot(tmp_path).keys() - before.keys()
    assert new == {"a/b/a.tar.index.npz"}
    assert not os.path.exists("/tmp/out.png")


def make_onnx(path, location):
    onnx = pytest.importorskip("onnx")
    weight = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[10, 48])
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    helper = onnx.helper
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["B", 3, 4, 4])],
        [helper.make_tensor_value_info("y", 1, ["B", 10])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.write_bytes(model.SerializeToString())


@pytest.fixture
def secret(tmp_path):
    """A file outside the folder of an ONNX file, with links to it inside."""
    (tmp_path / "net").mkdir()
    file = tmp_path / "secret.bin"
    file.write_bytes(np.zeros(480, np.float32).tobytes())
    (tmp_path / "net/link.bin").symlink_to(file)
    (tmp_path / "net/folder").symlink_to(tmp_path)
    os.link(file, tmp_path / "net/hard.bin")
    return file


LOCATIONS = ["../secret.bin", "SECRET", "link.bin", "folder/secret.bin", "hard.bin", "/dev/zero"]


@pytest.mark.parametrize("location", LOCATIONS)
def test_onnx_reads_weights_from_its_folder_alone(tmp_path, secret, location):
    make_onnx(tmp_path / "net/net.onnx", location.replace("SECRET", str(secret)))
    outcome = invoke("plan", "-a", f"onnx:{tmp_path}/net/net.onnx")
    assert (outcome.code, outcome.is_clean) == (2, True), outcome
    assert "is damaged or no ONNX file" in outcome.stderr


def test_onnx_reads_weights_from_its_folder(tmp_path, secret):
    """So that the test above cannot pass for another reason."""
    (tmp_path / "net/own.bin").write_bytes(secret.read_bytes())
    make_onnx(tmp_path / "net/net.onnx", "own.bin")
    assert invoke("plan", "-a", f"onnx:{tmp_path}/net/net.onnx").code == 0
