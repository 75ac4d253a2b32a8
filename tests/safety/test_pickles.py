"""No file that a user may have been given is unpickled: each of these would run something."""

import json
import shutil
import tarfile

import hostile
import numpy as np
import pytest
from invocation import invoke

from qcli import DataError
from qcli_datasets.archive import index_archive
from qcli_datasets.cifar_pickle import read_pickle

pickles = pytest.mark.parametrize("pickled", hostile.PICKLES)

# What qcli writes beside a run, and the pickles that accelerate and torch would look for there.
OURS = ("model", "optimizer", "registered_0", "random_0", "codes")
THEIRS = (
    *("optimizer.bin", "random_states_0.pkl", "custom_checkpoint_0.pkl", "pytorch_model.bin"),
    *("scaler.pt", "scheduler.bin", "sampler.bin", "dl_state_dict.bin", "registered_0.pkl"),
)


@pickles
@pytest.mark.parametrize("carrier", hostile.CARRIERS)
def test_each_file_is_armed(arm, pickled, carrier):
    assert arm(pickled, carrier)


@pickles
def test_cifar_reader_calls_nothing(arm, mark, tmp_path, pickled):
    (tmp_path / "batch").write_bytes(arm(pickled))
    with pytest.raises(DataError, match="batch: cannot be read"):
        read_pickle(tmp_path / "batch")
    assert not mark.exists()


@pickles
@pytest.mark.parametrize("carrier", ["plain", "zipped", "legacy"])
def test_initial_weights_call_nothing(arm, mark, tmp_path, pickled, carrier):
    from qcli.errors import UsageError
    from qcli.training.initial_weights import read_weights

    (tmp_path / "weights.pt").write_bytes(arm(pickled, carrier))
    with pytest.raises(UsageError, match=r"weights\.pt"):
        read_weights(tmp_path / "weights.pt")
    assert not mark.exists()


@pytest.mark.parametrize("carrier", ["plain", "zipped"])
@pytest.mark.parametrize("name", OURS)
def test_a_checkpoint_is_not_unpickled(given, arm, mark, name, carrier):
    (given / f"checkpoint/{name}.safetensors").write_bytes(arm(carrier=carrier))
    outcome = invoke("train", "--resume", given)
    assert outcome.is_clean, outcome.stderr
    assert (outcome.code, mark.exists()) == (1, False)


@pytest.mark.parametrize("name", THEIRS)
def test_pickles_beside_a_checkpoint_are_not_opened(given, arm, mark, name):
    (given / f"checkpoint/{name}").write_bytes(arm(carrier="zipped"))
    assert invoke("train", "--resume", given).code == 0
    assert not mark.exists()


@pytest.mark.parametrize("name", THEIRS)
def test_a_checkpoint_of_pickles_alone_is_refused(given, arm, mark, name):
    for file in (given / "checkpoint").glob("*.safetensors"):
        file.unlink()
    for each in (name, "optimizer.bin"):
        (given / f"checkpoint/{each}").write_bytes(arm(carrier="zipped"))
    outcome = invoke("train", "--resume", given)
    assert (outcome.code, mark.exists()) == (1, False)
    assert "wrote pickles" in outcome.stderr


@pytest.mark.parametrize("name", ["best.safetensors", "run.json", "training.json", "plan.json"])
def test_a_run_is_not_unpickled(trained, arm, mark, tmp_path, name):
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / name).write_bytes(arm())
    for words in (("eval",), ("train", "--epochs", "1", "--teacher")):
        assert invoke(*words, tmp_path / "run").code in (0, 1, 2)
        assert not mark.exists()
    assert name == "plan.json" or invoke("eval", tmp_path / "run").code == 1


COMMANDS = {
    "recipe.json": ("check", "FILE"),
    "table.json": ("reproduce", "FILE", "--dry-run"),
    "net.onnx": ("plan", "-a", "onnx:FILE"),
    "image.npy": ("infer", "GOOD", "FILE"),
    "image.png": ("infer", "GOOD", "FILE"),
    "net.qcli": ("infer", "FILE", "FILE"),
    "given.onnx": ("verify", "RUN", "--images", "1", "--artifact", "onnx-integer=FILE"),
    "manifest.json": ("verify", "RUN", "--images", "1", "--artifact", "c99=FOLDER"),
    "pack.json": ("data", "check", "folder", "-p", "FOLDER"),
    "train-images-idx3-ubyte": ("data", "check", "mnist", "-p", "FOLDER"),
    "ILSVRC2012_devkit_t12.tar.gz": ("data", "check", "imagenet", "-p", "FOLDER"),
}


@pytest.fixture(scope="session")
def packed(trained, tmp_path_factory):
    """That run as a packed file."""
    path = tmp_path_factory.mktemp("packed") / "run.qcli"
    assert invoke("export", trained, "--format", "packed", "-o", path).code == 0
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_other_files_are_not_unpickled(trained, packed, arm, mark, tmp_path, name):
    carrier = "npy" if name.endswith(".npy") else "plain"
    (tmp_path / "given").mkdir()
    file = tmp_path / "given" / name
    file.write_bytes(arm(carrier=carrier))
    if "ILSVRC" in name:
        for other in ("train", "val"):
            shutil.copy(file, file.with_name(f"ILSVRC2012_img_{other}.tar"))
    if name == "train-images-idx3-ubyte":
        for other in ("train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
            shutil.copy(file, file.with_name(f"{other}-ubyte"))
    places = {"FILE": file, "FOLDER": file.parent, "GOOD": packed, "RUN": trained}
    words = COMMANDS[name]
    for word, place in places.items():
        words = [str(each).replace(word, str(place)) for each in words]
    outcome = invoke(*words)
    assert outcome.is_clean, outcome.stderr
    assert (outcome.code in (1, 2, 4), mark.exists()) == (True, False)


def test_the_index_of_an_archive_is_not_unpickled(arm, mark, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(__file__, "n1/image.png")
    index_archive(tmp_path / "a.tar")
    kept = tmp_path / "a.tar.index.npz"
    stamp = np.load(kept)["stamp"]
    for pickled in ("reduce_0", "reduce_2"):
        kept.write_bytes(arm(pickled, "npz"))
        assert index_archive(tmp_path / "a.tar").names.tolist() == [b"image.png"]
        # And the harmless one has been written anew.
        assert np.array_equal(np.load(kept)["stamp"], stamp)
    assert not mark.exists()


BUILDS = {
    "encode": b"c_codecs\nencode\n",
    "array": b"cnumpy\nndarray\n",
    "dtype": b"cnumpy\ndtype\n",
}
GOOD = b"\x80\x02}q\x00(U\x04dataq\x01U\x01xu."


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("state", [b"}S'__doc__'\nI1\ns", b"(N}S'__doc__'\nI1\nst"])
def test_a_file_changes_nothing_of_the_reader(tmp_path, name, state):
    """The BUILD opcode sets attributes: of a function or a class they would outlive the file."""
    from qcli_datasets import cifar_pickle

    before = {each: dict(vars(kind)) for each, kind in cifar_pickle._STAND_INS.items()}
    (tmp_path / "batch").write_bytes(BUILDS[name] + state + b"b.")
    with pytest.raises(DataError):
        read_pickle(tmp_path / "batch")
    assert {each: dict(vars(kind)) for each, kind in cifar_pickle._STAND_INS.items()} == before
    (tmp_path / "good").write_bytes(GOOD)
    assert read_pickle(tmp_path / "good") == {"data": b"x"}


def test_registered_extensions_are_refused(tmp_path, mark):
    """Pickle looks up extension codes in a table of the process, not in the file."""
    import copyreg

    copyreg.add_extension("os", "mkdir", 240)
    try:
        (tmp_path / "batch").write_bytes(b"\x80\x02\x82\xf0" + hostile._text(str(mark)) + b"\x85R.")
        with pytest.raises(DataError, match=r"os\.mkdir, which was refused"):
            read_pickle(tmp_path / "batch")
    finally:
        copyreg.remove_extension("os", "mkdir", 240)
    assert not mark.exists()


def test_a_run_holds_no_pickle(trained):
    """What qcli writes is JSON, text and safetensors."""
    kinds = {file.suffix for file in trained.rglob("*") if file.is_file() and file.stat().st_size}
    assert kinds == {".json", ".jsonl", ".csv", ".txt", ".safetensors"}
    for file in trained.rglob("*.json"):
        json.loads(file.read_text())
