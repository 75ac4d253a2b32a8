"""`qcli data pack`, and training on what it makes."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from qcli.cli import cli
from qcli.errors import DataError, QcliError, UsageError

TRAIN = ("train", "--train-json", "resnet20-cifar10-200ep", "-d", "folder", "--epochs", "1")
CHANGES = {"dataset.image_size": 16, "normalize": "imagenet", "batch_size": 8, "lr": 0.01}


def run(*arguments):
    """Run a verb; return stdout, stderr and its error, None where it succeeds."""
    result = CliRunner().invoke(cli, [*map(str, arguments)])
    if result.exception and not isinstance(result.exception, QcliError | SystemExit):
        raise result.exception
    return result.stdout, result.stderr, result.exception


def pack(*arguments):
    return run("data", "pack", "folder", *arguments)


def settings(**changes):
    return [f"--set={key}={value}" for key, value in (CHANGES | changes).items()]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    root = tmp_path_factory.mktemp("photographs")
    draw = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (root / name).mkdir()
        for number in range(10):
            pixels = draw.integers(0, 256, (30 + number, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.jpg")
    return root


@pytest.fixture(scope="module")
def packed(photographs, tmp_path_factory):
    target = tmp_path_factory.mktemp("packed") / "deep" / "pack"
    _, text, error = pack("-p", photographs, "-o", target, "--size", 20, "--workers", 0)
    assert error is None
    assert "packed 20 images into 2 files, " in text
    assert f": {target}; use it with -d folder -p {target}" in text
    return target


def test_what_was_packed_is_written_down(photographs, packed):
    document = json.loads((packed / "pack.json").read_text())
    assert (document["format"], document["version"]) == ("qcli pack", 1)
    assert document["source"] == {
        "dataset": "folder",
        "options": {"test_fraction": None, "split_seed": 0},
        "root": str(photographs),
        "size": 20,
        "quality": 90,
    }
    assert document["class_names"] == ["ant", "bee"]
    # A fifth is for testing.
    assert [document["shards"][name][0]["images"] for name in ("train", "test")] == [16, 4]


def test_a_pack_is_trained_on_and_evaluated(packed, tmp_path):
    _, text, error = run(*TRAIN, "-p", packed, "-o", tmp_path / "run", *settings(augment='["rrc"]'))
    assert error is None
    assert "worker processes" not in text
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    text, _, error = run("eval", tmp_path / "run", "--json")
    assert error is None
    assert json.loads(text)["top1"] == result["best"]["top1"]


def test_what_threads_cannot_do_is_said(packed, tmp_path):
    augment = '["rrc",{"name":"RandAugment"}]'
    flags = settings(augment=augment, workers=0)
    _, text, error = run(*TRAIN, "-p", packed, "-o", tmp_path / "run", *flags)
    assert error is None
    assert "augment: worker processes do this image by image; with one of rrc, rrc_sat, " in text


def test_held_out_images_come_from_the_pack(packed, tmp_path):
    flags = settings(augment='["rrc"]', validation_fraction=0.25, select_on="validation")
    _, _, error = run(*TRAIN, "-p", packed, "-o", tmp_path / "run", *flags)
    assert error is None


def test_checking_a_pack_verifies_its_checksums(photographs, packed, tmp_path):
    _, text, error = run("data", "check", "folder", "-p", packed)
    assert error is None
    assert "is a pack, and all its files are as they were packed" in text
    pack("-p", photographs, "-o", tmp_path / "raw", "--raw", "--workers", 0)
    path = tmp_path / "raw" / "train-00000.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)
    text, _, error = run("data", "check", "folder", "-p", tmp_path / "raw", "--json")
    assert isinstance(error, DataError)
    assert str(error).startswith(f"{path}: its SHA-256 is ")
    assert len(json.loads(text)["faults"]) == 1


def test_options_of_the_data_set_are_packed(photographs, tmp_path):
    target = tmp_path / "pack"
    pack("-p", photographs, "-o", target, "--workers", 0, "--set", "test_fraction=0.5")
    half = ("data", "check", "folder", "-p", target, "--json", "--set", "test_fraction=0.5")
    text, _, error = run(*half)
    assert error is None
    assert json.loads(text)["splits"]["test"]["classes"] == [5, 5]
    _, _, error = run(*half[:-1], "test_fraction=0.4")
    assert isinstance(error, DataError)
    assert 'was packed with the option "test_fraction" as 0.5, found 0.4' in str(error)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["--raw", "--quality", "80"], UsageError, "--quality has no effect with --raw; remove"),
        (["--size", "0"], SystemExit, "2"),
        (["--quality", "96"], SystemExit, "2"),
        (["--set", "test_fraction=2"], QcliError, "/dataset/test_fraction: "),
    ],
)
def test_faults_of_the_command_line(photographs, tmp_path, arguments, kind, message):
    _, _, error = pack("-p", photographs, "-o", tmp_path / "pack", *arguments)
    assert isinstance(error, kind)
    assert message in str(error)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_packed(photographs, packed, tmp_path):
    _, _, error = pack("-p", photographs, "-o", packed)
    assert f"{packed}: exists already; choose another -o DIR, or delete it" in str(error)
    _, _, error = run("data", "pack", "digits", "-o", tmp_path / "pack")
    assert "digits: lies in memory, which is faster than a pack" in str(error)
    _, _, error = pack("-p", packed, "-o", tmp_path / "pack")
    assert f"{packed}: is a pack already; pass -p DIR with the photographs" in str(error)
