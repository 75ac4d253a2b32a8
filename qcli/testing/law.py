"""What a law is: a sentence, and a search for what breaks it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TypeVar

from qcli.errors import MissingTool

S = TypeVar("S")

# A law yields what it finds wrong with a subject; its docstring is its sentence.
Law = Callable[[S], Iterable[str]]


class LawBroken(AssertionError):
    """A plugin's entry breaks a law.

    Args:
        entry: The entry's name.
        place: Where: the slot, the tensor and the options.
        law: The law's sentence.
        found: What was found instead.
    """

    def __init__(self, entry: str, place: str, law: str, found: str) -> None:
        self.entry = entry
        self.place = place
        self.law = law
        self.found = found
        super().__init__(f"{entry}, {place}: law: {law} Found: {found}")


def check_laws(laws: Iterable[Law[S]], subject: S, entry: str, place: str) -> None:
    """Check laws one after another.

    Args:
        laws: The laws.
        subject: What every law is called with.
        entry: The name of the entry under test, for the message.
        place: Where in the entry, for the message.

    Raises:
        LawBroken: By the first law that finds something, or that cannot be carried out.
        MissingTool: A program or package is not there that a law needs.
    """
    for law in laws:
        sentence = (inspect.getdoc(law) or law.__name__).splitlines()[0]
        try:
            found = next(iter(law(subject)), None)
        except MissingTool:
            raise
        except Exception as error:
            # What an entry's code raises under a law is unknown, and breaks that law.
            text = f"{type(error).__name__}: {error}"
            raise LawBroken(entry, place, sentence, text) from error
        if found is not None:
            raise LawBroken(entry, place, sentence, found)
