"""The laws hold for every bundled exporter, and each catches an exporter that breaks it."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import qcli
from qcli.deployment.execution import run_graph
from qcli.deployment.packed import pack_graph, read_graph, write_graph
from qcli.testing import LawBroken, check_exporter
from qcli.testing.trial_network import make_deployments

CATALOG = qcli.load_catalog()
COUNTER = itertools.count()


# A compiler takes seconds, and so do runtimes.
QUICK = ("packed", "weights")
EXPORTERS = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in CATALOG.of_kind("exporters")
]


@pytest.mark.parametrize("name", EXPORTERS)
def test_bundled_exporters_obey(name):
    check_exporter(CATALOG.exporter(name))


def write(deployment, path):
    write_graph(deployment.integers, path)


def run(path, images):
    return run_graph(read_graph(path), images)


GOOD = qcli.ExporterEntry(
    name="good",
    summary="",
    source="",
    suffix=".bin",
    build=write,
    execute=run,
    read=read_graph,
)


def beside(deployment, path):
    write(deployment, path)
    path.with_name("notes.txt").write_text("")


def in_the_current_folder(deployment, path):
    write(deployment, path)
    Path("log.txt").write_text("")


def as_a_folder(deployment, path):
    path.mkdir()


def with_arrays(deployment, path):
    write(deployment, path)
    return {"sizes": (1, 2)}


def with_a_counter(deployment, path):
    path.write_bytes(bytes([next(COUNTER)]))


def scaled(deployment, path):
    with_weights = next(each for each in deployment.model.parameters())
    with_weights.data.mul_(1.5)
    write(deployment, path)


def trained(deployment, path):
    deployment.model.train()
    write(deployment, path)


def refuses(deployment, path):
    raise qcli.ExportError(["layer conv: no"])


def breaks(deployment, path):
    raise IndexError("list index out of range")


def off_by_one(path, images):
    results = run(path, images)
    return {**results, "logits": results["logits"] + 1}


def without_logits(path, images):
    return {name: each for name, each in run(path, images).items() if name != "logits"}


def in_float(path, images):
    return {name: each.astype(float) for name, each in run(path, images).items()}


def of_one_image(path, images):
    return run(path, images[:1])


def read_another(path):
    return replace(read_graph(path), facts={})


def run_anything(path, images):
    try:
        return run(path, images)
    except qcli.ArtifactError:
        return {"logits": np.zeros((len(images), 3), int)}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"build": beside}, "network.bin, notes.txt where network.bin was asked for"),
        ({"build": in_the_current_folder}, "log.txt, network.bin where network.bin was asked for"),
        ({"build": as_a_folder}, "a folder, and the suffix is '.bin'"),
        ({"build": with_arrays}, "it returned {'sizes': (1, 2)}"),
        ({"build": with_a_counter}, "writing it twice gives two forms that differ"),
        ({"build": scaled}, "it changes 0."),
        ({"build": trained}, "the network is in train mode"),
        ({"build": refuses}, "layer conv: no"),
        ({"build": breaks}, "IndexError: list index out of range"),
        ({"build": "no_module:write"}, "cannot be imported"),
        ({"execute": off_by_one}, "the reference has"),
        ({"execute": without_logits}, "logits is missing"),
        ({"execute": in_float}, "is float64"),
        ({"execute": of_one_image}, "is int8 [1, 3, 8, 8], allowed: integers [16, 3, 8, 8]"),
        ({"execute": run_anything}, "execute takes it"),
        ({"read": read_another}, "the graph that read returns is another one"),
        ({"read": Path.read_bytes}, "read returned bytes"),
        ({"needs_integers": False}, "AssertionError"),
        ({"options": {"level": {"description": "", "default": 1}}}, "keyword parameters []"),
    ],
    # Not of the functions: their addresses differ between processes.
    ids=lambda each: each if isinstance(each, str) else next(iter(each)),
)
def test_each_law_is_found_broken(changes, found):
    with pytest.raises(LawBroken) as caught:
        check_exporter(replace(GOOD, **changes))
    assert found in caught.value.found


def test_what_obeys_is_left_alone():
    check_exporter(GOOD)
    with pytest.raises(LawBroken, match="keyword parameters"):
        check_exporter(replace(GOOD, build=lambda deployment, path, level: None))


def test_a_form_may_refuse_one_network():
    def write_chains(deployment, path):
        if deployment.name != "chain":
            raise qcli.ExportError(["layer conv2: no groups"])
        write(deployment, path)

    check_exporter(replace(GOOD, build=write_chains))


def test_a_missing_program_breaks_no_law():
    def run_elsewhere(path, images):
        raise qcli.MissingTool("no compiler")

    with pytest.raises(qcli.MissingTool, match="no compiler"):
        check_exporter(replace(GOOD, execute=run_elsewhere))


def test_an_exporter_that_spoils_a_network_spoils_no_other_check():
    first = [pack_graph(each.integers) for each in make_deployments()]
    with pytest.raises(LawBroken):
        check_exporter(replace(GOOD, build=scaled))
    assert [pack_graph(each.integers) for each in make_deployments()] == first
    check_exporter(GOOD)
