"""Images per second of a run's integers as C99 and as ONNX, on one core.

    python benchmarks/deployment_speed.py RUN [IMAGES]

Random images; compiled with gcc -O2, and -O3 -march=native; onnxruntime with one thread, in
batches of 1, 25 and 100. The best of five rounds, in which the forms take turns.
"""

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime

from qcli.catalog.load import load_catalog
from qcli.deployment.preparation import prepare_run
from qcli.deployment.writing import write_form

ROUNDS = 5
BATCHES = (1, 25, 100)


def compile_source(folder, flags):
    program = folder / f"classify{''.join(flags)}"
    sources = [str(path) for path in folder.glob("*.c")]
    subprocess.run(["gcc", "-std=c99", *flags, *sources, "-o", str(program)], check=True)
    return program


def run_program(program, file):
    subprocess.run([str(program), str(file)], check=True, stdout=subprocess.DEVNULL)


def open_session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)


def run_session(session, images, batch):
    name = session.get_inputs()[0].name
    for start in range(0, len(images), batch):
        session.run(None, {name: images[start : start + batch]})


def main(run, count=1000):
    entries, deployment = load_catalog(), prepare_run(Path(run)).deployment
    shape = (int(count), *deployment.image_shape)
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images.raw").write_bytes(images.tobytes())
        print(write_form(entries.exporter("c99"), deployment, folder / "c", {}))
        forms = {}
        for flags in (("-O2",), ("-O3", "-march=native")):
            program = compile_source(folder / "c", flags)
            forms[f"c99 gcc {' '.join(flags)}"] = lambda p=program: run_program(
                p, folder / "images.raw"
            )
        for form in ("strict", "fast"):
            path = folder / f"{form}.onnx"
            write_form(entries.exporter("onnx-integer"), deployment, path, {"form": form})
            session = open_session(path)
            for batch in BATCHES:
                forms[f"onnx-integer {form}, batch {batch}"] = lambda s=session, b=batch: (
                    run_session(s, images, b)
                )
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
