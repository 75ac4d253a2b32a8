"""The command line in this process: what `qcli ARGUMENTS` would print and exit with."""

import contextlib
import io
import os
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from qcli.cli import run

DOCUMENTED = {0, 1, 2, 3, 4}
OURS = ("this is a fault of qcli", "Traceback (most recent call last)")
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")


@dataclass(frozen=True)
class Outcome:
    """What came of a command.

    Args:
        code: The exit code.
        stdout: The data.
        stderr: Everything else.
    """

    code: int
    stdout: str
    stderr: str

    @property
    def is_clean(self) -> bool:
        """Whether it ended as documented, and wrote nothing that commands a terminal."""
        text = self.stdout + self.stderr
        told = self.code == 0 or "error: " in self.stderr
        ours = any(sign in text for sign in OURS)
        return self.code in DOCUMENTED and told and not ours and not COMMANDS.search(text)


class _Stream(io.TextIOWrapper):
    """A stream as a pipe has it: strict, in UTF-8."""

    def __init__(self, errors):
        super().__init__(io.BytesIO(), "utf-8", errors, write_through=True)

    def text(self):
        return self.buffer.getvalue().decode("utf-8", "surrogateescape")


def invoke(*arguments):
    """Run `qcli ARGUMENTS` in this process."""
    out, err = _Stream("strict"), _Stream("backslashreplace")
    words = ["qcli", *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", words),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(action="default"),
    ):
        code = run()
    return Outcome(code, out.text(), err.text())


def snapshot(folder):
    """Return what tells the state of a folder from any other: kinds, links and contents."""
    return {
        str(path.relative_to(folder)): _state(path)
        for path in sorted(Path(folder).rglob("*"))
        if path.name != ".lock"
    }


def _state(path):
    if path.is_symlink():
        return ("link", os.readlink(path))
    if path.is_file():
        return ("file", path.read_bytes())
    return ("folder" if path.is_dir() else "other",)
