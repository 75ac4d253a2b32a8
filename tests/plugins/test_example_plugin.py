"""The example of a plugin obeys the laws, and costs no import of torch until it is used."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from qcli.testing import check_architecture, check_dataset, check_quantizer

EXAMPLE = Path(__file__).parents[1] / "example_plugin"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(EXAMPLE)
    yield importlib.import_module("qcli_example")
    for name in [name for name in sys.modules if name.split(".")[0] == "qcli_example"]:
        del sys.modules[name]


def test_quantizer_obeys_the_laws(example: ModuleType) -> None:
    (entry,) = example.qcli_register_quantizers()
    for bits in (1, 3, 5):
        check_quantizer(entry, {"bits": bits})


def test_architecture_obeys_the_laws(example: ModuleType) -> None:
    (entry,) = example.qcli_register_architectures()
    check_architecture(entry)


def test_dataset_obeys_the_laws(example: ModuleType) -> None:
    (entry,) = example.qcli_register_datasets()
    check_dataset(entry)


def test_importing_its_entries_imports_no_torch() -> None:
    code = "import sys, qcli_example; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=EXAMPLE, check=True, timeout=300)
