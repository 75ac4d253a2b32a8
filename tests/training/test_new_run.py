"""A folder that cannot be made says whose fault it is."""

import errno
import os
from pathlib import Path

import pytest

from qcli.errors import RunError, UsageError
from qcli.training.new_run import claim
from qcli.training.run_directory import RunDirectory


@pytest.mark.parametrize("make", [claim, RunDirectory.create])
@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, RunError), (errno.EDQUOT, RunError), (errno.EACCES, UsageError)],
)
def test_a_full_disk_is_no_wrong_command(tmp_path, monkeypatch, make, number, kind):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(kind, match=f"run cannot be made: {os.strerror(number)}"):
        make(tmp_path / "run")
