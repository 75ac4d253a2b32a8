"""Signals that end a run between two steps."""

import os
import signal

import pytest
import torch

from qcli.training.interruption import SIGNALS, Interruption

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def heard():
    """Handlers that remember, in place of those that would end pytest."""
    numbers = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: numbers.append(number))
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


def test_no_signal_is_zero(heard):
    with Interruption() as interruption:
        assert interruption.agreed(CPU, 1) == 0
    assert heard == []


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("processes", [1, 2])
def test_the_first_signal_is_remembered(heard, number, processes):
    with Interruption() as interruption:
        os.kill(os.getpid(), number)
        assert interruption.agreed(CPU, processes) == number
        assert interruption.signal_number == number
    assert heard == []


@pytest.mark.parametrize("second", SIGNALS)
@pytest.mark.parametrize("first", SIGNALS)
def test_the_second_signal_acts_as_ever(heard, first, second):
    with Interruption() as interruption:
        os.kill(os.getpid(), first)
        os.kill(os.getpid(), second)
        assert interruption.signal_number == first
    assert heard == [second]


@pytest.mark.parametrize("number", [None, *SIGNALS])
def test_handlers_are_put_back(number):
    before = handlers()
    with Interruption():
        assert all(new != old for new, old in zip(handlers(), before, strict=True))
        if number:
            os.kill(os.getpid(), number)
    assert handlers() == before


def test_handlers_are_put_back_after_a_fault(heard):
    before = handlers()
    with pytest.raises(ZeroDivisionError), Interruption():
        raise ZeroDivisionError
    assert handlers() == before
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM]


def test_of_several_processes_a_signal_that_is_sent_on_counts_once(heard, monkeypatch):
    """Ctrl-C reaches a process from the terminal, and again from its launcher."""
    now = [100.0]
    monkeypatch.setattr("qcli.training.interruption.time.monotonic", lambda: now[0])
    with Interruption(2) as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        now[0] += 1
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert (interruption.signal_number, heard) == (signal.SIGINT, [])
        now[0] += 10
        os.kill(os.getpid(), signal.SIGINT)
        assert heard == [signal.SIGINT]
