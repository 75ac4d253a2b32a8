"""Every method and bit-width of seed 001's MNIST table, and the other methods, in short runs.

    python benchmarks/methods_on_mnist.py DATA WORK [--jobs 2] [--epochs 5]

Each row trains lenet5 with its preset, from the float row's weights where its method starts from
a trained network. Rows that are finished are kept: the command goes on where it was stopped. The
table is printed as Markdown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

TRAINING = "lenet5-mnist-100ep"


@dataclass(frozen=True)
class Row:
    """One training: a preset, how it is trained, and what seed 001 reports after 100 epochs."""

    preset: str | None
    lr: float
    optimizer: str = "sgd"
    reported: float | None = None
    parent: str | None = None
    more: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The row's folder."""
        return self.preset or f"float-{self.optimizer}"

    def command(self, root: Path, work: Path, epochs: int) -> list[str]:
        """Return the command that trains the row, or goes on with it."""
        start = [sys.executable, "-m", "qcli", "train"]
        if (work / self.name / "checkpoint").exists():
            return [*start, "--resume", str(work / self.name)]
        start += ["--cpu", "--threads", "1", "-p", str(root), "-o", str(work / self.name)]
        start += ["--train-json", TRAINING, "--epochs", str(epochs), "--set", f"lr.start={self.lr}"]
        for setting in (*self._optimizer(), *self.more):
            start += ["--set", setting]
        start += ["--quant-json", self.preset] if self.preset else []
        return start + (["--init-from", str(work / self.parent)] if self.parent else [])

    def _optimizer(self) -> Sequence[str]:
        if self.optimizer == "adam":
            return ['optimizer={"name": "adam"}']
        # Seed 001: only its float baseline decays.
        return [] if self.reported is None or not self.preset else ["optimizer.weight_decay=0"]


FLOAT = "float-sgd"
ROWS = [
    Row(None, 0.01, "sgd", 0.9959),
    Row("qnn-w32a32", 0.001, "adam", 0.9969),
    Row("qnn-w8a8", 0.01, "adam", 0.9952),
    Row("qnn-w4a4", 0.001, "adam", 0.9955),
    Row("qnn-w2a32", 0.001, "adam", 0.9963),
    Row("qnn-w1a32", 0.01, "adam", 0.9956),
    Row("qnn-w2a2", 0.001, "adam", 0.9945),
    Row("qnn-w2a1", 0.001, "adam", 0.9888),
    Row("qnn-w1a2", 0.01, "adam", 0.9922),
    Row("qnn-w1a1", 0.01, "adam", 0.989),
    Row("dorefa-w32a32", 0.01, "adam", 0.9967),
    Row("dorefa-w8a8", 0.1, "sgd", 0.9969),
    Row("dorefa-w4a4", 0.001, "adam", 0.9968),
    Row("dorefa-w2a32", 0.001, "adam", 0.996),
    Row("dorefa-w1a32", 0.01, "adam", 0.9969),
    Row("dorefa-w2a2", 0.001, "adam", 0.9962),
    Row("dorefa-w2a1", 0.1, "sgd", 0.9907),
    Row("dorefa-w1a2", 0.1, "sgd", 0.9961),
    Row("dorefa-w1a1", 0.1, "sgd", 0.9906),
    Row("xnor-w1a32", 0.001, "adam", 0.9963),
    Row("xnor-w1a1", 0.001, "adam", 0.9937),
    Row(None, 0.001, "adam", 0.9963),
    Row("twn-w2a32", 0.1, "sgd", 0.9963),
    Row("ttq-w2a32", 0.01, "adam", 0.9947),
    *(Row(f"search-{bits}b", 0.1) for bits in (1, 2, 3)),
    Row("search-int-2b", 0.1),
    Row("search-po2-4b", 0.1),
    *(Row(f"lsq-{bits}", 0.01, parent=FLOAT) for bits in ("w2a2", "w3a3", "w4a4", "w8a8")),
    *(Row(f"pact-{bits}", 0.01) for bits in ("w2a2", "w4a4")),
    Row("cg_pact-w4a4", 0.01),
    Row("sat-clamp", 0.05),
    *(Row(f"sat-{bits}", 0.05, parent="sat-clamp") for bits in ("w2a2", "w4a4")),
    *(Row(f"wrpn-{bits}", 0.01) for bits in ("w2a2", "w4a4")),
    Row("uniform-w8a8", 0.01, parent=FLOAT),
    *(Row(f"lq_nets-{bits}", 0.01) for bits in ("w1a32", "w2a32", "w2a2", "w3a3")),
    *(Row(f"quantization_networks-{bits}", 0.01, parent=FLOAT) for bits in ("w1a32", "w2a32")),
    Row("quantization_networks-w1a2", 0.01, parent="quantization_networks-w1a32"),
]


def train(row: Row, root: Path, work: Path, epochs: int) -> None:
    """Train a row, unless it is finished; what it prints goes to a file beside its folder."""
    if (work / row.name / "result.json").exists():
        return
    with (work / f"{row.name}.log").open("a") as log:
        subprocess.run(row.command(root, work, epochs), stdout=log, stderr=log, check=False)


def format_row(row: Row, work: Path) -> str:
    """Return a line of the table; a row without a result says so."""
    result = work / row.name / "result.json"
    reported = f"{100 * row.reported:.2f}" if row.reported else ""
    how = f"{row.optimizer} {row.lr:g}" + (f", from {row.parent}" if row.parent else "")
    if not result.exists():
        return f"| {row.name} | {how} | no result | | {reported} |"
    found = json.loads(result.read_text())
    best, last = (100 * found[key]["top1"] for key in ("best", "last"))
    return f"| {row.name} | {how} | {best:.2f} | {last:.2f} | {reported} |"


def main() -> None:
    """Train every row, parents first, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="names of rows")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows = [row for row in ROWS if not arguments.only or row.name in arguments.only]
    waves: list[list[Row]] = [[], [], []]
    depth = {row.name: 0 for row in ROWS if row.parent is None}
    for row in rows:
        place = 0 if row.parent is None else depth.get(row.parent, 1) + 1
        depth[row.name] = place
        waves[place].append(row)
    for wave in waves:
        with ThreadPoolExecutor(arguments.jobs) as pool:
            list(
                pool.map(
                    lambda row: train(row, arguments.data, arguments.work, arguments.epochs), wave
                )
            )
    print("| preset | training | best | last | seed 001, 100 epochs |\n|---|---|---|---|---|")
    print("\n".join(format_row(row, arguments.work) for row in rows))


if __name__ == "__main__":
    main()
