"""What is refused, and what is written down."""

import pytest

from qcli.benchmark import machine
from qcli.benchmark.machine import describe_machine, has_bfloat16, is_busy, require_idle
from qcli.errors import RunError


@pytest.mark.parametrize(
    ("load", "cores", "busy"), [(1.0, 2, False), (1.01, 2, True), (0.6, 1, True), (None, 1, False)]
)
def test_busy_is_more_than_half_the_cores(load, cores, busy):
    assert is_busy(load, cores) == busy


def test_a_busy_machine_is_refused_in_words():
    require_idle(1.0, 2)
    with pytest.raises(RunError) as caught:
        require_idle(3.456, 2)
    text = str(caught.value)
    assert "3.46 on 2 cores, more than 1:" in text
    assert "--busy" in text


def test_the_record_tells_what_numbers_rest_on():
    record = describe_machine(0.25)
    assert record["load"] == 0.25
    assert record["threads"] >= 1
    assert record["cores"] >= 1
    assert list(record["versions"]) == ["python", "qcli", "torch", "torchvision", "accelerate"]
    assert record["processor"]


@pytest.mark.parametrize(
    ("flags", "found"),
    [("fpu avx512f avx512_bf16", True), ("amx_bf16", True), ("fpu avx512f", False), ("", False)],
)
def test_bfloat16_is_told_by_the_processor(monkeypatch, flags, found):
    monkeypatch.setattr(machine, "_processor_fields", lambda: {"flags": flags})
    assert has_bfloat16() == found
