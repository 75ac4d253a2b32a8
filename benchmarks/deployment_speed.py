"""Images per second of a run's integers as C99 and as ONNX, on one core.

    python benchmarks/deployment_speed.py RUN [IMAGES]

Random images; compiled with gcc -O2, and -O3 -march=native; onnxruntime with one thread, in
batches of 1, 25 and 100. The best of five rounds, in which the forms take turns.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime

from qcli.catalog.load import load_catalog
from qcli.deployment.deployment import Deployment
from qcli.deployment.preparation import prepare_run
from qcli.deployment.writing import write_form

ROUNDS = 5
BATCHES = (1, 25, 100)


def make_programs(deployment: Deployment, folder: Path) -> dict[str, Callable[[], Any]]:
    """Compile the network with two sets of flags; each call classifies `images.raw`."""
    entry = load_catalog().exporter("c99")
    print(write_form(entry, deployment, folder / "c", {"name": "network"}))
    programs: dict[str, Callable[[], Any]] = {}
    for flags in (("-O2",), ("-O3", "-march=native")):
        program = folder / f"classify{''.join(flags)}"
        sources = [str(path) for path in (folder / "c").glob("*.c")]
        subprocess.run(["gcc", "-std=c99", *flags, *sources, "-o", str(program)], check=True)
        command = [str(program), str(folder / "images.raw")]
        programs[f"c99 gcc {' '.join(flags)}"] = partial(
            subprocess.run, command, check=True, stdout=subprocess.DEVNULL
        )
    return programs


def make_sessions(
    deployment: Deployment, folder: Path, images: np.ndarray
) -> dict[str, Callable[[], Any]]:
    """Load both ONNX forms; each call runs all images in batches."""
    entry = load_catalog().exporter("onnx-integer")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions: dict[str, Callable[[], Any]] = {}
    for form in ("strict", "fast"):
        path = folder / f"{form}.onnx"
        write_form(entry, deployment, path, {"form": form})
        session = onnxruntime.InferenceSession(str(path), options)
        for batch in BATCHES:
            label = f"onnx-integer {form}, batch {batch}"
            sessions[label] = partial(run_session, session, images, batch)
    return sessions


def run_session(session: Any, images: np.ndarray, batch: int) -> None:
    """Run all images in batches."""
    name = session.get_inputs()[0].name
    for start in range(0, len(images), batch):
        session.run(None, {name: images[start : start + batch]})


def main(run: str, count: str = "1000") -> None:
    """Print the speed of every form."""
    deployment = prepare_run(Path(run)).deployment
    shape = (int(count), *deployment.image_shape)
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images.raw").write_bytes(images.tobytes())
        programs = make_programs(deployment, folder)
        forms = {**programs, **make_sessions(deployment, folder, images)}
        best = dict.fromkeys(forms, float("inf"))
        for _ in range(ROUNDS):
            for label, execute in forms.items():
                start = time.perf_counter()
                execute()
                best[label] = min(best[label], time.perf_counter() - start)
    for label, seconds in best.items():
        print(f"{label}: {len(images) / seconds:,.0f} images/s")


if __name__ == "__main__":
    main(*sys.argv[1:])
