"""Cases of what surrounds the steps of a run: its start, its records, its evaluation."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from itertools import count, cycle
from pathlib import Path

import torch
from safetensors.torch import save_model

from qcli.benchmark.case import Arm, Scope
from qcli.benchmark.program_cases import CPU, NORMALIZATION
from qcli.benchmark.training_step import RESNET20, arm_of_steps, draw_batches, make_training
from qcli.errors import RunError
from qcli.recipe.setting import Request
from qcli.training.batches import Normalizer, ResidentEvaluation
from qcli.training.checkpoint import save_checkpoint
from qcli.training.evaluation import evaluate
from qcli.training.learner import Learner
from qcli.training.position import Position
from qcli.training.run_directory import RunDirectory
from qcli.training.splits import ArraySplit

QCLI = (sys.executable, "-m", "qcli")
EVALUATED_IMAGES = 2000
EVALUATION_BATCHES = (1000, 250)
IMAGES_OF_AN_EPOCH = 50_000
# In the middle of a run, with numbers as `Loop` writes them.
EPOCH = 100
ROW = {"epoch": EPOCH, "lr": 0.05, "train_loss": 0.25, "train_top1": 0.91, "val_top1": 0.9}


def measure_startup(scope: Scope) -> dict[str, Arm]:
    """Return `qcli --help`, and the time from `qcli train` to its first step on digits."""
    numbers = count()

    def start() -> float:
        return seconds_to_first_step(scope.folder / f"run{next(numbers)}")

    return {"help": Arm(run_help), "first step": Arm(start)}


def run_help() -> None:
    """Run `qcli --help`."""
    subprocess.run([*QCLI, "--help"], check=True, stdout=subprocess.DEVNULL)


def seconds_to_first_step(path: Path) -> float:
    """Start `qcli train`, and return the seconds until it tells of its first step.

    Args:
        path: Its run directory, which must be new.

    Raises:
        RunError: It ended before.
    """
    command = [*QCLI, "train", "--cpu", "--verbose", "-o", str(path)]
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("step 1 "):
                    return time.perf_counter() - began
        finally:
            process.kill()
    raise RunError("`qcli train` ended before its first step; run it to see why")


def share_of_records(scope: Scope) -> dict[str, Arm]:
    """Return a step, and all that a run writes in an epoch, which counts once in 50000 images."""
    training = make_training(Request(train_json=RESNET20, quant_json="lsq-w4a4"))
    batches = draw_batches(training.setting, training.device)
    steps = arm_of_steps(training, cycle([batch] for batch in batches))
    write = partial(write_records, training.learner, RunDirectory(scope.folder))
    return {"steps": steps, "records": Arm(write, IMAGES_OF_AN_EPOCH)}


def write_records(learner: Learner, run: RunDirectory) -> None:
    """Write what an epoch that is the best so far leaves in a run directory.

    That is the metrics of all epochs, the weights twice, and the checkpoint.
    """
    run.write_rows([ROW] * EPOCH)
    for name in ("best", "last"):
        run.write_file(f"{name}.safetensors", lambda path: save_model(learner.network, str(path)))
    save_checkpoint(learner.accelerator, run.path, Position(epoch=EPOCH, rows=EPOCH))


def measure_evaluation(scope: Scope) -> dict[str, Arm]:
    """Return evaluations of a float network and of one quantized by LSQ."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(
        256, (EVALUATED_IMAGES, 3, 32, 32), dtype=torch.uint8, generator=generator
    )
    split = ArraySplit(images, torch.randint(10, (EVALUATED_IMAGES,), generator=generator))
    large, small = EVALUATION_BATCHES
    plain = Request(train_json=RESNET20)
    quantized = replace(plain, quant_json="lsq-w4a4")
    return {
        "float": evaluation(plain, split, large),
        "lsq-w4a4": evaluation(quantized, split, large),
        f"lsq-w4a4, batch {small}": evaluation(quantized, split, small),
    }


def evaluation(request: Request, split: ArraySplit, batch_size: int) -> Arm:
    """Return evaluations of a network, in batches of a size."""
    network = make_training(request).learner.network
    normalizer = Normalizer(NORMALIZATION, False, CPU.device)
    batches = ResidentEvaluation(split, batch_size, normalizer, CPU)

    def unit() -> None:
        evaluate(network, batches, CPU.device)

    return Arm(unit, len(split))
