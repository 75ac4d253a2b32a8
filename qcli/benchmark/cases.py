"""Every case of `qcli bench`, with its goal; no torch."""

from __future__ import annotations

from collections.abc import Sequence

from qcli.benchmark.case import Case, Comparison, Goal, Quantity
from qcli.errors import UsageError, suggest

BREVITAS = "brevitas"
COMPILER = "a C++ compiler"
CUDA = "cuda"

_STEPS = "qcli.benchmark.step_cases"
_PROGRAMS = "qcli.benchmark.program_cases"
_RUNS = "qcli.benchmark.run_cases"


def _time(arm: str, base: str, at_most: float | None = None) -> Comparison:
    goal = None if at_most is None else Goal(at_most=at_most)
    return Comparison(arm, base, Quantity.TIME_RATIO, goal)


def _speed(arm: str, base: str, at_least: float | None = None) -> Comparison:
    goal = None if at_least is None else Goal(at_least=at_least)
    return Comparison(arm, base, Quantity.SPEED_RATIO, goal)


def _seconds(arm: str, at_most: float) -> Comparison:
    return Comparison(arm, None, Quantity.SECONDS, Goal(at_most=at_most))


def _images_per_second(arm: str, at_least: float | None = None) -> Comparison:
    goal = None if at_least is None else Goal(at_least=at_least)
    return Comparison(arm, None, Quantity.IMAGES_PER_SECOND, goal)


def _step(recipe: str) -> Case:
    return Case(
        f"step-{recipe}",
        f"training step of ResNet-20, batch 128, float32, not compiled: {recipe} / float",
        f"{_STEPS}:compare_with_float",
        (_time("quantized", "float", at_most=1.2),),
        {"recipe": recipe},
    )


_STEP_CASES = (
    _step("lsq-w4a4"),
    _step("sat-w4a4"),
    _step("dorefa-w4a4"),
    Case(
        "step-lsq-weights",
        "training step of ResNet-20, batch 128: lsq-w4a4 with float inputs / float",
        f"{_STEPS}:compare_with_float",
        (_time("quantized", "float", at_most=1.05),),
        {
            "recipe": "lsq-w4a4",
            "quantization": ("default.input=null", "last_layer.input=null"),
        },
    ),
    Case(
        "step-lq_nets-w2a2",
        "training step of ResNet-20, batch 128: lq_nets-w2a2 / float; beside it the reference "
        "data flow, which builds B",
        f"{_STEPS}:compare_lq_nets",
        (_time("lq_nets-w2a2", "float", at_most=1.25), _time("reference", "float")),
    ),
    Case(
        "compiled-lsq-w4a4",
        "training step of ResNet-20, batch 128, compiled: lsq-w4a4 / float",
        f"{_STEPS}:compare_compiled",
        (
            _time("compiled lsq-w4a4", "compiled float", at_most=1.1),
            _time("compiled lsq-w4a4", "float", at_most=1.0),
        ),
        {"recipe": "lsq-w4a4"},
        needs=(COMPILER,),
    ),
    Case(
        "search-k4",
        "training step of ResNet-18, 32x32, batch 32: search over 4 values / float; beside it SLB "
        "by plain autograd",
        f"{_STEPS}:compare_search",
        (
            _time("search-2b", "float", at_most=1.15),
            _time("slb-w2a32", "float"),
            _time("naive SLB", "float"),
        ),
    ),
    Case(
        "search-k4-memory",
        "the most bytes that live at once in a training step of ResNet-18, 32x32, batch 32, beyond "
        "those of float",
        "qcli.benchmark.memory:count_search",
        (
            Comparison("search-2b", "float", Quantity.EXTRA_BYTES, Goal(at_most=0.3e9)),
            Comparison("naive SLB", "float", Quantity.EXTRA_BYTES),
        ),
    ),
    Case(
        "naive-lsq",
        "training step of ResNet-20, batch 128, W4A4, float first and last layer: LSQ of qcli and "
        "LSQ by plain autograd",
        f"{_STEPS}:compare_naive_lsq",
        (_time("qcli", "naive"), _time("naive", "float")),
    ),
    Case(
        "brevitas",
        "images/s of training ResNet-20, batch 128, W4A4 learned scales, float first and last "
        "layer: qcli / Brevitas",
        f"{_STEPS}:compare_brevitas",
        (_speed("qcli", "Brevitas", at_least=1.5),),
        needs=(BREVITAS,),
    ),
    Case(
        "brevitas-compiled",
        "images/s as in brevitas, with compile=true: qcli / Brevitas, which runs as it is",
        f"{_STEPS}:compare_brevitas",
        (_speed("qcli", "Brevitas"),),
        {"overrides": ("compile=true",)},
        needs=(BREVITAS, COMPILER),
    ),
    Case(
        "optimizer-share",
        "ResNet-20, lsq-w4a4, batch 128: time of the optimizer alone / of a training step",
        f"{_STEPS}:share_of_optimizer",
        (_time("optimizer", "step", at_most=0.05),),
    ),
)
_RUN_CASES = (
    Case(
        "pipeline",
        "images/s of CIFAR-10's pad-4 crop, flip and normalization, batch 128, one thread: qcli / "
        "torchvision with a DataLoader",
        f"{_PROGRAMS}:compare_pipelines",
        (_speed("qcli", "torchvision", at_least=15.0),),
        threads=1,
        reads_images=True,
    ),
    Case(
        "packed-pipeline",
        "images/s of random-resized crops of photographs at 224 pixels, one process: packs of "
        "qcli / torchvision's ImageFolder with a DataLoader",
        "qcli.benchmark.packed_pipeline:measure_packed_pipeline",
        (_speed("packed JPEG", "torchvision"), _speed("packed pixels", "torchvision")),
        reads_images=True,
    ),
    Case(
        "program-search-2b",
        "images/s of training ResNet-20 with search-2b, batch 128, data included: qcli / a plain "
        "PyTorch program",
        f"{_PROGRAMS}:compare_programs",
        (
            _speed("qcli, fastest here", "plain program", at_least=2.0),
            _speed("qcli, float32", "plain program"),
        ),
        reads_images=True,
    ),
    Case(
        "records",
        "ResNet-20, lsq-w4a4: time of what a run writes in an epoch of 50,000 images / of its "
        "steps",
        f"{_RUNS}:share_of_records",
        (_time("records", "steps", at_most=0.01),),
    ),
    Case(
        "startup",
        "seconds of `qcli --help`, and from the command to the first training step on digits",
        f"{_RUNS}:measure_startup",
        (_seconds("help", at_most=0.25), _seconds("first step", at_most=5.0)),
    ),
    Case(
        "evaluation",
        "evaluation of ResNet-20, batch 1000: lsq-w4a4 and float",
        f"{_RUNS}:measure_evaluation",
        (
            _time("lsq-w4a4", "float"),
            _time("lsq-w4a4, batch 250", "lsq-w4a4"),
            _images_per_second("lsq-w4a4"),
        ),
    ),
)
_GPU_CASES = (
    Case(
        "gpu-step-lsq-w4a4",
        "training step of ResNet-20, batch 128, on the GPU: lsq-w4a4 / float",
        f"{_STEPS}:compare_with_float",
        (_time("quantized", "float", at_most=1.1),),
        {"recipe": "lsq-w4a4", "cuda": True},
        needs=(CUDA,),
    ),
    Case(
        "gpu-resnet18-lsq-w4a4",
        "training step of ResNet-18, 224x224, batch 256, bfloat16, on the GPU: lsq-w4a4 / float",
        f"{_STEPS}:compare_with_float",
        (
            _time("quantized", "float", at_most=1.1),
            _images_per_second("quantized", at_least=12_000.0),
        ),
        {
            "recipe": "lsq-w4a4",
            "training": "resnet18-imagenet-90ep",
            "overrides": ("batch_size=256", "precision=bfloat16", "channels_last=true"),
            "cuda": True,
        },
        needs=(CUDA,),
    ),
    Case(
        "gpu-epoch-search-1b",
        "seconds of an epoch of ResNet-20 on CIFAR-10 with search-1b and its evaluation, on the "
        "GPU: 200 of them in 90 s",
        f"{_PROGRAMS}:measure_epoch",
        (_seconds("search-1b", at_most=0.45),),
        {"recipe": "search-1b", "cuda": True},
        needs=(CUDA,),
        reads_images=True,
    ),
    Case(
        "gpu-brevitas",
        "images/s of training ResNet-20, batch 128, W4A4, on the GPU: qcli / Brevitas",
        f"{_STEPS}:compare_brevitas",
        (_speed("qcli", "Brevitas", at_least=4.0),),
        {"cuda": True},
        needs=(CUDA, BREVITAS),
    ),
)
CASES = (*_STEP_CASES, *_RUN_CASES, *_GPU_CASES)


def find_cases(names: Sequence[str]) -> tuple[Case, ...]:
    """Return cases by name, each once, in the order of the list.

    Raises:
        UsageError: There is no such case.
    """
    known = [case.name for case in CASES]
    for name in names:
        if name not in known:
            raise UsageError(
                f'no case "{name}"{suggest(name, known)}; `qcli bench` lists the {len(known)} cases'
            )
    return tuple(case for case in CASES if case.name in names)
