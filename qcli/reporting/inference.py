"""What a network says of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qcli.reporting.console import print_data

if TYPE_CHECKING:
    from qcli.deployment.inference import Guess


def print_guesses(names: Sequence[str], guesses: Sequence[Sequence[Guess]]) -> None:
    """Print a line for each image to stdout: its likeliest classes with their scores."""
    for name, best in zip(names, guesses, strict=True):
        words = ", ".join(f"{_title(guess)} ({guess.score:.4g})" for guess in best)
        print_data(f"{name}: {words}")


def _title(guess: Guess) -> str:
    return f"class {guess.index}" if guess.name is None else guess.name
