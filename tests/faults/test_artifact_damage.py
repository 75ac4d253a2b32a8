"""Exported files that are damaged or hostile: told, or proved to compute the same.

150 headers of packed files with right checksums and wrong contents, 1,000 more in the slow set, 60
arrays, 33 images of odd kinds for `qcli infer`; in the slow set 18 damaged packed, ONNX and C files
for `qcli verify`, which compares every integer. That every flipped byte of a packed file is seen is
a test of tests/deployment/test_packed.py; of weights and checkpoints, of test_seal.py.
"""

import hashlib
import json
import os
import random
import shutil
import time

import numpy as np
import pytest
from graphs import GraphMaker
from invocation import invoke
from mutation import mutate_tree
from safetensors.numpy import load, save
from test_data_files_damage import GOOD, odd_images

from qcli.deployment.execution import run_graph
from qcli.deployment.packed import pack_graph, unpack_graph, write_graph
from qcli.errors import ArtifactError

BLANK = "0" * 64


def small_graph(image_shape=(3, 12, 10), **facts):
    make = GraphMaker(image_shape)
    x = make.convolution("image", "first", 4, list(range(-7, 8)))
    x = make.quantize(x, "first.output", list(range(16)))
    x = make.add_reshape(x, "flat", (int(np.prod(make.tensors[x].shape)),))
    make.logits(make.linear(x, "last", 10, [-1, 1]))
    return make.graph(**facts)


@pytest.fixture(scope="module")
def packed():
    """Return the header and the arrays of a packed file."""
    image = {"resize": [12, 10], "crop": None, "interpolation": "bilinear", "channels": 3}
    content = pack_graph(small_graph(classes=[f"class {n}" for n in range(10)], image=image))
    size = int.from_bytes(content[:8], "little")
    table = json.loads(content[8 : 8 + size])
    return json.loads(table["__metadata__"]["qcli"]), load(content)


def sign(header, arrays):
    """Return a packed file with this header and the right checksum."""
    text = json.dumps({**header, "sha256": BLANK}, allow_nan=True)
    content = save(arrays, {"qcli": text})
    digest = hashlib.sha256(content).hexdigest()
    return content.replace(BLANK.encode(), digest.encode(), 1)


def infer(path, image):
    """Return how an inference ended, and its CPU time in seconds."""
    began = time.process_time()
    return invoke("infer", path, image), time.process_time() - began


def fuzz(seeds, packed, folder, tally):
    """Infer with mutated graphs; return how many of them could run."""
    header, arrays = packed
    parts = {key: header[key] for key in ("image", "nodes", "facts")}
    image = folder / "image.png"
    odd_images()["one_pixel.png"](image)
    failures, ran = [], 0
    for seed in seeds:
        rng = random.Random(seed)
        mutant = parts
        for _ in range(rng.choice([1, 1, 2])):
            mutant = mutate_tree(mutant, rng, [parts])
        if not isinstance(mutant, dict):
            continue
        path = folder / "mutant.qcli"
        path.write_bytes(sign({**header, **mutant}, arrays))
        outcome, seconds = infer(path, image)
        if seconds > 2:
            # Garbage that other tests left is collected in any case's time; it is not there twice.
            outcome, seconds = infer(path, image)
        tally.cases += 1
        tally.tracebacks += not outcome.is_clean
        ran += outcome.code == 0
        if not outcome.is_clean or seconds > 2:
            failures.append(f"{seed}: {seconds:.1f} s, {outcome.code} {outcome.stderr[-500:]}")
    assert not failures, "\n".join([f"{len(failures)} failures", *failures[:12]])
    return ran


def test_some_hostile_graphs(packed, tmp_path, tally):
    ran = fuzz(range(150), packed, tmp_path, tally)
    # Where none runs, the mutants test the reader of files alone.
    assert 5 < ran < 100


@pytest.mark.slow
def test_hostile_graphs(packed, tmp_path, tally):
    fuzz(range(150, 1150), packed, tmp_path, tally)


def test_hostile_arrays(packed, tally):
    """Arrays of other types and shapes than the header says."""
    header, arrays = packed
    for name in arrays:
        for change in (
            lambda array: array[..., :-1],
            lambda array: array.astype(np.float32),
            lambda array: array.astype(np.int64) * 2**40,
            lambda array: np.zeros((0,), np.int64),
            lambda array: array.reshape(-1)[::-1].copy(),
        ):
            tally.cases += 1
            content = sign(header, {**arrays, name: np.ascontiguousarray(change(arrays[name]))})
            try:
                graph = unpack_graph(content, "x.qcli")
            except ArtifactError:
                continue
            run_graph(graph, np.zeros((1, *graph.image.shape), np.uint8))


@pytest.mark.parametrize("name", [*odd_images(), "pixels.npy", "objects.npy"])
def test_infer_takes_odd_images_or_says_why(tmp_path, tally, name):
    tally.cases += 1
    image = {"resize": [12, 10], "crop": None, "interpolation": "bilinear", "channels": 3}
    write_graph(small_graph(image=image), tmp_path / "net.qcli")
    path = tmp_path / name
    match name:
        case "pixels.npy":
            np.save(path, np.zeros((3, 12, 10), np.uint8))
        case "objects.npy":
            np.save(path, np.array([os.system], object))
        case _:
            odd_images()[name](path)
    outcome = invoke("infer", tmp_path / "net.qcli", path)
    good = name in GOOD or name == "pixels.npy"
    tally.tracebacks += not outcome.is_clean
    assert outcome.is_clean, outcome
    assert outcome.code == (0 if good else 2), outcome
    assert good or f"{path}: " in outcome.stderr


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_infer_waits_for_no_pipe(tmp_path, tally, make):
    tally.cases += 1
    make(tmp_path / "net.qcli")
    outcome = invoke("infer", tmp_path / "net.qcli", tmp_path / "net.qcli")
    assert outcome.is_clean
    assert outcome.code == 1


def test_names_of_classes_are_shown_and_not_obeyed(tmp_path, tally):
    tally.cases += 1
    hostile = ["\x1b[31mred\x1b[0m", "a\nb", "[bold]x", "\udce9", "x" * 5000]
    write_graph(small_graph(classes=[*hostile, *"fghij"]), tmp_path / "net.qcli")
    np.save(tmp_path / "pixels.npy", np.zeros((3, 12, 10), np.uint8))
    for flags in ((), ("--json",)):
        outcome = invoke(
            "infer", tmp_path / "net.qcli", tmp_path / "pixels.npy", "--top", 10, *flags
        )
        assert outcome.is_clean, outcome
        assert outcome.code == 0


FORMS = {"packed": "net.qcli", "onnx-integer": "net.onnx", "c99": "net_c"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a trained run and a file or folder of each form."""
    folder = tmp_path_factory.mktemp("exported")
    arguments = ("--train-json", "lenet5-digits-20ep", "--quant-json", "lsq-w4a4-integer")
    small = ("-a", "lenet5_classic", "--epochs", 1, "--cpu", "--threads", 1)
    assert invoke("train", *arguments, *small, "-o", folder / "run").code == 0
    for form, name in FORMS.items():
        assert invoke("export", folder / "run", "--format", form, "-o", folder / name).code == 0
    return folder


def prove(exported, forms, seeds, tally, tmp_path):
    """Verify damaged forms; none may pass that computes anything else."""
    failures = []
    for form in forms:
        for seed in seeds:
            rng = random.Random(f"{form} {seed}")
            copy = tmp_path / FORMS[form]
            shutil.rmtree(copy, ignore_errors=True) if copy.is_dir() else copy.unlink(
                missing_ok=True
            )
            source = exported / FORMS[form]
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy)
            file = copy if copy.is_file() else rng.choice(sorted(copy.iterdir()))
            content = bytearray(file.read_bytes())
            place = rng.randrange(len(content))
            content[place] ^= 1 << rng.randrange(8)
            file.write_bytes(content if rng.random() < 0.8 else content[:place])
            asked = ("--images", 24, "--artifact", f"{form}={copy}", "--json")
            outcome = invoke("verify", exported / "run", *asked)
            tally.cases += 1
            tally.tracebacks += not outcome.is_clean
            told = {0: '"exact"', 4: ""}.get(outcome.code, "error")
            if not outcome.is_clean or told not in outcome.stdout + outcome.stderr:
                failures.append(
                    f"{form} {file.name} {seed}: {outcome.code} {outcome.stderr[-500:]}"
                )
    assert not failures, "\n".join([f"{len(failures)} failures", *failures[:12]])


@pytest.mark.slow
def test_damaged_forms_are_found(exported, tally, tmp_path):
    prove(exported, FORMS, range(6), tally, tmp_path)
