"""What each check makes of what it sees: of machines that are not this one, too."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from qcli.catalog.catalog import Catalog, PluginRecord
from qcli.doctor.cuda import count_gpus, find_cuda, read_driver
from qcli.doctor.launch import config_path, find_launch, read_config
from qcli.doctor.machine import find_clock, find_memory, find_threads, read_quota
from qcli.doctor.packages import numbers
from qcli.doctor.plugins import find_plugins
from qcli.doctor.storage import find_folder, find_shared_memory
from qcli.doctor.torch_pair import compare


def told(findings):
    return [(each.severity, bool(each.remedy)) for each in findings]


@pytest.mark.parametrize(
    ("torch", "torchvision", "doubt"),
    [
        ("2.14.1", "0.29.1", ""),
        ("2.11.0+cpu", "0.26.0+cpu", ""),
        ("2.14.1+cu130", "0.29.0", ""),
        ("2.14.1+cpu", "0.29.1+cu130", "built for cpu and cu130"),
        ("2.13.0", "0.29.1", "torch 2.13 goes with torchvision 0.28"),
        ("2.14.0", "0.28.0", "torch 2.14 goes with torchvision 0.29"),
        ("3.0.0", "1.0.0", ""),
        ("main", "main", ""),
    ],
)
def test_versions_that_belong_together(torch, torchvision, doubt):
    found = compare(torch, torchvision)
    assert found.startswith(doubt)
    assert bool(found) == bool(doubt)


def test_numbers_of_versions():
    assert numbers("2.14.1+cpu") == (2, 14, 1)
    assert numbers("3.20.0") == numbers("3.20")
    assert numbers("10.1") > numbers("9.9.9")
    assert numbers("unknown") == ()


class Sums:
    """Stands for a matrix on a GPU that multiplies rightly, or not."""

    def __init__(self, value):
        self.value = value

    def __matmul__(self, other):
        return self

    def sum(self):
        return self.value


def make_torch(built, *, devices=0, error=None, value=16**3):
    def make(*shape, device):
        if error:
            raise RuntimeError(error)
        return Sums(value)

    cuda = SimpleNamespace(
        is_available=lambda: devices > 0,
        device_count=lambda: devices,
        get_device_name=lambda index: "H",
    )
    version = SimpleNamespace(cuda=built)
    return SimpleNamespace(version=version, cuda=cuda, ones=make, zeros=make, __version__="2.14.1")


@pytest.mark.parametrize(
    ("torch", "driver", "expected", "words"),
    [
        (make_torch(None), None, [("ok", False)], "on the CPU"),
        (make_torch("13.0"), None, [("ok", False)], "uses the CPU"),
        (make_torch(None), "580.1", [("warning", True)], "has no CUDA"),
        (make_torch("13.0", error="driver too old"), "410.48", [("error", True)], "too old"),
        (make_torch("13.0", value=0), "580.1", [("error", True)], "CUDA_VISIBLE_DEVICES"),
        (make_torch("13.0", devices=2), "580.1", [("ok", False)] * 2, "computes"),
        (make_torch("13.0", devices=1, value=1), "580.1", [("error", True)], "wrongly"),
        (make_torch("13.0", devices=1, error="no kernel"), "580.1", [("error", True)], "no kernel"),
    ],
)
def test_gpus(torch, driver, expected, words):
    found = list(find_cuda(torch, driver, 2))
    assert told(found) == expected
    assert words in found[-1].text


def test_driver_is_read(tmp_path):
    assert (read_driver(tmp_path), count_gpus(tmp_path)) == (None, 0)
    text = (
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23\nGCC version: 13\n"
    )
    (tmp_path / "version").write_text(text)
    (tmp_path / "gpus/0000").mkdir(parents=True)
    assert (read_driver(tmp_path), count_gpus(tmp_path)) == ("580.95.05", 1)


@pytest.mark.parametrize(
    ("config", "gpus", "severity", "words"),
    [
        ("distributed_type: 'NO'\nnum_processes: 1", 0, "ok", "one process"),
        ("distributed_type: MULTI_GPU\nnum_processes: 4", 1, "warning", "here are 1"),
        ("distributed_type: MULTI_GPU\nnum_processes: 2", 2, "note", "2 processes"),
        ("distributed_type: MULTI_CPU\nnum_processes: 2\nuse_cpu: true", 0, "note", "2 processes"),
        ("num_machines: 2\nnum_processes: 2", 2, "warning", "2 machines"),
        ("distributed_type: FSDP\nnum_processes: 2", 2, "warning", "FSDP shards"),
    ],
)
def test_configuration_of_accelerate(tmp_path, config, gpus, severity, words):
    path = tmp_path / "default_config.yaml"
    path.write_text(config)
    (found,) = find_launch(read_config(path), path, gpus)
    assert (found.severity, words in found.text) == (severity, True), found
    assert bool(found.remedy) == (severity != "ok")


@pytest.mark.parametrize("text", ["[1]", "", "a: [", "!!python/object/apply:os.system ['true']"])
def test_configuration_that_is_none(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(Exception, match=r"."):
        read_config(tmp_path / "c.yaml")


def test_configuration_lies_where_accelerate_writes_it():
    from accelerate.commands.config.config_args import default_config_file

    assert str(config_path(os.environ)) == default_config_file
    assert config_path({"HF_HOME": "/x"}) == Path("/x/accelerate/default_config.yaml")


@pytest.mark.parametrize(
    ("cores", "quota", "environment", "expected"),
    [
        (4, None, {}, [("ok", False)]),
        (4, 4.0, {"OMP_NUM_THREADS": "2"}, [("ok", False)]),
        (4, None, {"OMP_NUM_THREADS": "64"}, [("warning", True)]),
        (4, None, {"OMP_NUM_THREADS": "many", "MKL_NUM_THREADS": "0"}, [("warning", True)] * 2),
        (64, 1.5, {}, [("warning", True)]),
    ],
)
def test_threads(cores, quota, environment, expected):
    assert told(find_threads(cores, quota, environment)) == expected


def test_limits_of_a_container_are_read(tmp_path):
    assert read_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert read_quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert read_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("free", "limit", "severity"),
    [(8 << 20, None, "ok"), (1 << 20, None, "warning"), (8 << 20, 1 << 30, "warning")],
)
def test_memory(tmp_path, free, limit, severity):
    (tmp_path / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable:  {free} kB\n")
    if limit:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text("4096\n")
    found = find_memory(tmp_path / "meminfo", tmp_path)
    assert (found.severity, "container" in found.text) == (severity, bool(limit))


def test_files_that_a_container_caches_give_way(tmp_path):
    (tmp_path / "meminfo").write_text(f"MemAvailable: {64 << 20} kB\n")
    (tmp_path / "memory.max").write_text(f"{16 << 30}\n")
    (tmp_path / "memory.current").write_text(f"{15 << 30}\n")
    assert find_memory(tmp_path / "meminfo", tmp_path).severity == "warning"
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {9 << 30}\n")
    found = find_memory(tmp_path / "meminfo", tmp_path)
    assert (found.severity, found.text.split(" ")[0]) == ("ok", "10.0")


def test_memory_that_nobody_tells(tmp_path):
    assert find_memory(tmp_path / "meminfo", tmp_path).severity == "note"


@pytest.mark.parametrize(
    ("now", "written", "severity"),
    [
        (1.8e9, 1.8e9 + 1, "ok"),
        (1.8e9, 1.8e9 + 60, "warning"),
        (1.8e9, 1.8e9 - 60, "warning"),
        (0.0, 0.0, "error"),
    ],
)
def test_clock(now, written, severity):
    found = find_clock(now, written)
    assert (found.severity, bool(found.remedy)) == (severity, severity != "ok")


def test_folders(tmp_path, monkeypatch):
    assert find_folder(tmp_path, "runs", "x").severity == "ok"
    assert list(tmp_path.iterdir()) == []
    missing = find_folder(tmp_path / "none", "runs", "mkdir none")
    assert (missing.severity, missing.remedy) == ("error", "mkdir none")
    for free, severity in ((10 << 20, "error"), (1 << 30, "warning")):
        usage = SimpleNamespace(free=free, total=10 << 30)
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
        found = find_folder(tmp_path, "runs", "x")
        assert (found.severity, found.remedy) == (severity, f"du -sh {tmp_path}/*")


def test_shared_memory(tmp_path, monkeypatch):
    assert find_shared_memory(tmp_path / "none").severity == "ok"
    usage = SimpleNamespace(free=64 << 20, total=64 << 20)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    found = find_shared_memory(tmp_path)
    assert (found.severity, "remount" in found.remedy) == ("warning", True)


def test_plugins():
    good = PluginRecord("uniform", "qcli", "1", None)
    broken = PluginRecord("mine", "qcli-mine", "2", "ImportError: no luck")
    off = PluginRecord("binary", "qcli", "1", "disabled")
    unknown = PluginRecord("binry", "QCLI_DISABLE_PLUGINS", "", "names no plugin")
    found = list(find_plugins(Catalog((), (good, broken, off, unknown))))
    assert [each.severity for each in found] == ["error", "note", "warning", "ok"]
    assert found[0].text == "mine of qcli-mine 2 is broken: ImportError: no luck"
    assert found[0].remedy == "pip install --upgrade --force-reinstall qcli-mine"
    assert find_plugins(Catalog((), ())).__next__().severity == "error"
