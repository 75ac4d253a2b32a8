"""The run directory of a session: chosen, then made or reopened, alike in every process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from qcli.errors import QcliError
from qcli.recipe.setting import Setting
from qcli.training.new_run import claim, default_run_path, require_new
from qcli.training.peers import require_shared
from qcli.training.record import SessionOptions
from qcli.training.run_directory import RunDirectory


def open_run(path: Path, options: SessionOptions, accelerator: Accelerator) -> RunDirectory:
    """Create or reopen the run directory in the main process; the others follow, or fail alike."""
    run = RunDirectory(path)
    message: list[Any] = [None, None]
    if accelerator.is_main_process:
        try:
            run = _create_or_reopen(path, options)
            message[0] = str(run.path.absolute())
        except QcliError as error:
            if accelerator.num_processes == 1:
                raise
            message[1] = error
    if accelerator.num_processes > 1:
        broadcast_object_list(message)
    if message[1]:
        raise message[1]
    run = run if accelerator.is_main_process else RunDirectory(Path(message[0]))
    try:
        require_shared(run.path, accelerator, options.patience)
    except BaseException:
        run.release()
        raise
    return run


def _create_or_reopen(path: Path, options: SessionOptions) -> RunDirectory:
    if options.resume:
        return RunDirectory.reopen(path)
    return RunDirectory.create(path if options.work_dir else claim(path))


def choose_path(setting: Setting, options: SessionOptions) -> Path:
    """Return the run directory; raises UsageError where that of a new run is not new."""
    if options.resume:
        return options.resume
    assert setting.dataset is not None
    recipe = setting.quantization.name if setting.quantization else "float"
    default = default_run_path(setting.architecture_name, setting.dataset.name, recipe)
    path = options.work_dir or default
    require_new(path)
    return path
