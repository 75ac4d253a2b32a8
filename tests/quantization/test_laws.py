"""The laws hold for every registered quantizer, and each catches a quantizer that breaks it."""

from __future__ import annotations

import copy
import inspect
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qcli
from qcli.catalog.catalog import resolve_build
from qcli.recipe.checking import part_at
from qcli.recipe.document import read_document
from qcli.recipe.library import shipped_recipes
from qcli.recipe.slots import slot_places
from qcli.testing import (
    LawBroken,
    check_architecture,
    check_dataset,
    check_quantizer,
    measure_step,
)
from qcli.testing.case import make_cases
from qcli.testing.law import check_laws
from qcli.testing.quantizer import ENTRY_LAWS, LAWS
from qcli.testing.training_laws import never_waits

CATALOG = qcli.load_catalog()
QUANTIZERS = sorted(CATALOG.of_kind("quantizers"))
ARCHITECTURES = sorted(
    name
    for name in CATALOG.of_kind("architectures")
    if not name.endswith(":") and "1202" not in name
)
UNSORTED = [-0.25, -0.5, -1, -2, 2, 1, 0.5, 0.25]
THIRDS = {"linspace": [-1, 1, 4]}
DATA = ("input", "output")
EVERY = ("weight", *DATA)
VARIANTS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("lsq", {"bits": 1}, ("weight",)),
    *(("lsq", {"bits": bits}, EVERY) for bits in (2, 8)),
    *(("lsq", {"bits": bits, "signed": False}, DATA) for bits in (1, 2, 8)),
    *(("lsq", {"bits": bits, "granularity": "channel"}, ("weight",)) for bits in (1, 2, 8)),
    ("lsq", {"initial_step": 0.3}, EVERY),
    ("lsq", {"learned": False}, EVERY),
    *(("dorefa", {"bits": bits}, EVERY) for bits in (1, 2, 8)),
    ("dorefa", {"gradient_through_max": False}, EVERY),
    *(("uniform", {"bits": bits}, EVERY) for bits in (2, 3)),
    *(("uniform", {"bits": bits, "granularity": "channel"}, ("weight",)) for bits in (2, 8)),
    ("uniform", {"signed": False}, DATA),
    ("uniform", {"symmetric": True}, EVERY),
    ("uniform", {"symmetric": True, "signed": False}, DATA),
    ("uniform", {"observer": "minmax"}, EVERY),
    *(
        ("categorical", {"value_space": space, "sampling": sampling}, ("weight",))
        for space in (UNSORTED, THIRDS, {"integers": [-3, 3]}, {"powers_of_two": [-2, 1]})
        for sampling in ("hard", "soft", "gumbel")
    ),
    *(
        ("categorical", {"initial_logits": start, "value_space": THIRDS}, ("weight",))
        for start in ("normal", "pretrained")
    ),
    *(
        (
            "categorical",
            {"scale": scale, "value_space": THIRDS, "initial_logits": start},
            ("weight",),
        )
        for scale in ("tensor", "channel")
        for start in ("uniform", "pretrained")
    ),
]


@pytest.mark.parametrize("name", QUANTIZERS)
def test_every_quantizer_obeys(name: str) -> None:
    check_quantizer(CATALOG.quantizer(name))


@pytest.mark.parametrize(("name", "options", "slots"), VARIANTS, ids=str)
def test_variants_obey(name: str, options: dict[str, Any], slots: tuple[str, ...]) -> None:
    entry = CATALOG.quantizer(name)
    check_quantizer(replace(entry, quantizes=entry.quantizes & set(slots)), options)


@pytest.mark.parametrize("preset", shipped_recipes("quantization"))
def test_no_preset_waits_for_the_device(preset: str) -> None:
    recipe = read_document(preset, "quantization").value
    for pointer in slot_places(recipe):
        options = dict(part_at(recipe, pointer))
        entry = CATALOG.quantizer(options.pop("quantizer"))
        slot = replace(entry, quantizes=frozenset({pointer[-1]}))
        case = next(make_cases(slot, options))
        check_laws((never_waits,), case, entry.name, str(case))
        # There are no numbers on the meta device: what reads one raises.
        quantizer, latent = case.start()
        assert not any(measure_step(quantizer.to("meta"), latent.to("meta")).waits.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", QUANTIZERS)
def test_every_quantizer_compiles(name: str) -> None:
    check_quantizer(CATALOG.quantizer(name), compiled=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        # The logits of a search have one dimension more, and no such format.
        *((name, {}) for name in QUANTIZERS if name != "categorical"),
        ("quantization_networks", {"sampling": "hard"}),
    ],
)
def test_every_quantizer_decomposes_in_channels_last(name: str, options: dict[str, Any]) -> None:
    """What inductor makes of every operation takes that memory format, too."""
    cases = [case for case in make_cases(CATALOG.quantizer(name), options) if case.kind == "normal"]
    images = [case for case in cases if case.tensor.dim() == 4]
    assert images
    for case in images:
        quantizer, latent = case.start()
        latent = latent.to(memory_format=torch.channels_last).requires_grad_()
        torch.compiler.reset()
        compiled = torch.compile(quantizer, backend="aot_eager_decomp_partition")
        with torch.random.fork_rng(devices=[]):
            compiled(latent).sum().backward()
        assert latent.grad is not None


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["soft", "gumbel"])
def test_search_compiles(sampling: str) -> None:
    options = {"sampling": sampling, "value_space": UNSORTED, "scale": "channel"}
    check_quantizer(CATALOG.quantizer("categorical"), options, compiled=True)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_obeys(name: str) -> None:
    check_architecture(CATALOG.architecture(name)[0])


def test_member_of_a_family_obeys() -> None:
    entry, member = CATALOG.architecture("torchvision:mobilenet_v2")
    check_architecture(entry, {"member": member})


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_data_sets_without_files_obey(name: str) -> None:
    check_dataset(CATALOG.dataset(name))


@pytest.mark.parametrize("name", QUANTIZERS)
def test_docstring_has_its_parts(name: str) -> None:
    """A sentence, then Forward, Backward, Learned, Starts at and Source, in this order."""
    lines = (inspect.getdoc(resolve_build(CATALOG.quantizer(name).build, name)) or "").splitlines()
    assert lines[0].endswith(".")
    assert lines[0].count(". ") == 0
    assert lines[1] == ""
    parts = [line.partition(":")[0] for line in lines[2:] if line[:1].strip()]
    required = ["Forward", "Backward", "Learned", "Starts at", "Source"]
    assert parts in (required, [*required, "Differs"])
    assert all(len(line.partition(":")[2].strip()) > 3 for line in lines[2:] if line[:1].strip())


class Steps(qcli.Quantizer):
    """A quantizer that obeys every law: 2 bits, a trained step, softened while training."""

    step: Tensor

    def __init__(self, info: qcli.TensorInfo, *, start: float = 0.5) -> None:
        super().__init__(info)
        self.step = nn.Parameter(torch.tensor(start))
        self.register_buffer("softness", torch.zeros(()))

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        largest = x.abs().max() / 2
        self.step.copy_(torch.where(largest > 0, largest, 1.0))

    def forward(self, latent: Tensor) -> Tensor:
        x = latent.float()
        hard = qcli.round_ste((x / self.step).clamp(-2, 1)) * self.step + 0.0
        result = torch.lerp(hard, x, self.softness) if self.training else hard
        return result.to(latent.dtype)

    def on_progress(self, progress: qcli.Progress) -> None:
        self.softness.fill_((1 - progress.fraction) / 2)

    @torch.no_grad()
    def after_step(self, latent: Tensor | None) -> None:
        self.step.clamp_(min=1e-7)

    def codebook(self) -> Tensor:
        return torch.arange(-2, 2) * self.step.detach()

    def codes(self, latent: Tensor) -> Tensor:
        return (torch.round((latent.float() / self.step).clamp(-2, 1)) + 2).int()


START = {"description": "The first step.", "type": "number", "default": 0.5}


def make_entry(**methods: Any) -> qcli.QuantizerEntry:
    """Return the entry of Steps with other methods."""
    return qcli.QuantizerEntry(
        "steps", "", "", type("Broken", (Steps,), methods), options={"start": START}
    )


def emit(change):
    """Return a forward that changes what Steps emits."""
    return lambda self, latent: change(self, Steps.forward(self, latent))


def unguarded(self: Steps, x: Tensor) -> None:
    with torch.no_grad():
        self.step.copy_(x.abs().max() / 2)


def without_zero(self: Steps, latent: Tensor) -> Tensor:
    return qcli.round_ste((latent.float() / self.step).clamp(-2, 1)).mul(self.step).to(latent.dtype)


def flat_gradient(self: Steps, latent: Tensor) -> Tensor:
    x = latent.float()
    return (torch.round((x / self.step).clamp(-2, 1)) * self.step + 0.0).to(latent.dtype)


def root_gradient(self: Steps, latent: Tensor) -> Tensor:
    """The derivative of the root is infinite at 0."""
    return Steps.forward(self, latent) + latent.abs().sqrt() * 0.0


def midway(self: Steps) -> qcli.Thresholds | None:
    """Ties round to even, which one comparison for all thresholds does not know."""
    if self.info.role == "weight":
        return None
    tau = (torch.tensor([-1.5, -0.5, 0.5]) * self.step.detach()).double()
    return qcli.Thresholds(tau, torch.zeros(3, dtype=torch.bool))


def doubled_grid(self: Steps) -> qcli.Grid:
    integers = torch.arange(-2, 2, dtype=torch.int32)
    return qcli.Grid(2 * self.step.detach(), integers, torch.tensor(0, dtype=torch.int32))


def step_in_place(self: Steps, latent: Tensor) -> Tensor:
    if not latent.requires_grad:
        latent.clamp_(-1, 1)
    return Steps.forward(self, latent)


class HandOutView(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def average_in_forward(self: Steps, latent: Tensor) -> Tensor:
    result = Steps.forward(self, latent)
    if self.training:
        self.step.data.mul_(0.9)
    return result


def count_steps(self: Steps, progress: qcli.Progress) -> None:
    self.softness.add_(0.01)


def narrow_planes(self: Steps) -> qcli.Planes:
    planes = qcli.Quantizer.planes(self)
    assert planes is not None
    return qcli.Planes(planes.steps * (1 - 2**-20), planes.integers)


def draw_anything(self: Steps, progress: qcli.Progress) -> None:
    self.softness.copy_(torch.rand(()))


def mend_if_broken(self: Steps, latent: Tensor | None) -> None:
    if self.step < 1e-7:
        self.step.data.fill_(1e-7)


def count_levels(self: Steps, latent: Tensor) -> Tensor:
    """The host must know how many numbers are unlike each other."""
    latent.detach().unique()
    return Steps.forward(self, latent)


def forget_step(self: Steps, info: qcli.TensorInfo, *, start: float = 0.5) -> None:
    qcli.Quantizer.__init__(self, info)
    self.register_buffer("step", torch.tensor(start), persistent=False)
    self.register_buffer("softness", torch.zeros(()))


def take_anything(self: Steps, info: qcli.TensorInfo, *, start: float = 0.5, **more: Any) -> None:
    Steps.__init__(self, info, start=start)


def start_elsewhere(self: Steps, info: qcli.TensorInfo, *, start: float = 0.25) -> None:
    Steps.__init__(self, info, start=start)


def start_anyhow(self: Steps, info: qcli.TensorInfo, *, begin: float = 0.5) -> None:
    Steps.__init__(self, info, start=begin)


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "flattens": ({"forward": emit(lambda _, y: y.flatten())}, "shape and the latent's dtype"),
    "widens": ({"forward": emit(lambda _, y: y.float())}, "shape and the latent's dtype"),
    "divides by 0": ({"observe": unguarded}, "emits finite numbers"),
    "raises": ({"forward": emit(lambda self, y: y / self.missing)}, "shape and the latent's"),
    "evaluates by chance": (
        {"forward": emit(lambda _, y: y + torch.rand(()).to(y.dtype))},
        "Eval mode is deterministic",
    ),
    "wide codebook": ({"codebook": lambda self: Steps.codebook(self).double()}, "float32 [K]"),
    "off by one ulp": (
        {"codebook": lambda self: Steps.codebook(self).nextafter(torch.tensor(torch.inf))},
        "is in codebook(), bit for bit",
    ),
    "emits -0.0": ({"forward": without_zero}, "is in codebook(), bit for bit"),
    "soft in eval mode": (
        {"forward": lambda self, x: Steps.forward(self, x).lerp(x, 0.01)},
        "is in codebook(), bit for bit",
    ),
    "shows a mean": ({"continuous": lambda self, x: x.mean()}, "Reports can draw continuous"),
    "long codes": ({"codes": lambda self, x: Steps.codes(self, x).long()}, "codes() is int32"),
    "signed codes": ({"codes": lambda self, x: Steps.codes(self, x) - 2}, "codes() is int32"),
    "codes downward": ({"codes": lambda self, x: 3 - Steps.codes(self, x)}, "decode(codes(x))"),
    "wrong grid": ({"grid": doubled_grid}, "gives the codebook back exactly"),
    "narrow planes": ({"planes": narrow_planes}, "adds up to the codebook"),
    "wrong ties": ({"thresholds": midway}, "thresholds() agrees with codes()"),
    "no straight-through": ({"forward": flat_gradient}, "get a finite gradient"),
    "cuts the gradient": ({"forward": emit(lambda _, y: y.detach())}, "get a finite gradient"),
    "infinite gradient": ({"forward": root_gradient}, "get a finite gradient"),
    "hands out a view": (
        {"forward": emit(lambda _, y: HandOutView.apply(y))},
        "may be changed in place",
    ),
    "counts steps": ({"on_progress": count_steps}, "on_progress is pure"),
    "draws anything": ({"on_progress": draw_anything}, "on_progress is pure"),
    "clips in forward": ({"forward": step_in_place}, "Train, eval and train again"),
    "averages in forward": ({"forward": average_in_forward}, "Train, eval and train again"),
    "negative step": ({"after_step": lambda self, latent: None}, "turned every own parameter's"),
    "forgets its step": ({"__init__": forget_step}, "loads the state dict"),
    "sick health": (
        {"health": lambda self, latent: {"loss": float("nan")}},
        "finite numbers by name",
    ),
    "health that mends": (
        {"health": lambda self, latent: self.after_step(latent) or {"s": self.softness.fill_(1)}},
        "finite numbers by name",
    ),
    "reads its step": ({"after_step": mend_if_broken}, "never waits for the device"),
    "counts its levels": ({"forward": count_levels}, "never waits for the device"),
    "shares its copy": ({"__deepcopy__": lambda self, memo: copy.copy(self)}, "shares nothing"),
    "takes anything": ({"__init__": take_anything}, "raise TypeError"),
    "other default": ({"__init__": start_elsewhere}, "with the same defaults"),
    "other option": ({"__init__": start_anyhow}, "with the same defaults"),
}


def test_healthy_quantizer_obeys() -> None:
    check_quantizer(make_entry())


@pytest.mark.parametrize(("methods", "law"), BROKEN.values(), ids=BROKEN)
def test_broken_quantizer_is_caught(methods: dict[str, Any], law: str) -> None:
    with pytest.raises(LawBroken) as caught:
        check_quantizer(make_entry(**methods))
    assert law in caught.value.law
    assert str(caught.value).startswith(f"steps, {caught.value.place}: law: {caught.value.law}")
    assert caught.value.found in str(caught.value)


@pytest.mark.parametrize("law", [*ENTRY_LAWS, *LAWS], ids=lambda law: law.__name__)
def test_every_law_has_a_quantizer_that_breaks_it(law: Any) -> None:
    """Options without a description, which break the first law, are the next test's."""
    sentence = inspect.getdoc(law) or ""
    assert any(part in sentence for _, part in BROKEN.values()) or law is ENTRY_LAWS[0]


@pytest.mark.parametrize(
    "option",
    [
        {"type": "number", "default": 0.5},
        {"type": "number", "description": "The first step."},
        {**START, "default": "half"},
        {**START, "maximum": 0.1},
    ],
    ids=str,
)
def test_broken_option_is_caught(option: dict[str, Any]) -> None:
    with pytest.raises(LawBroken, match="Every option has a description and a default"):
        check_quantizer(replace(make_entry(), options={"start": option}))


def test_place_names_slot_tensor_and_options() -> None:
    entry = make_entry(grid=doubled_grid)
    with pytest.raises(LawBroken, match=r"steps, input \(normal, 2x3x4x4, start 0.2\): law"):
        check_quantizer(replace(entry, quantizes=frozenset({"input"})), {"start": 0.2})


def test_laws_leave_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    check_quantizer(CATALOG.quantizer("categorical"))
    assert torch.equal(before, torch.get_rng_state())


def anneal_attribute(self: Steps, progress: qcli.Progress) -> None:
    self.sharpness = 1 + progress.fraction


def sharpen(self: Steps, latent: Tensor) -> Tensor:
    return (
        Steps.forward(self, latent) * getattr(self, "sharpness", 1.0)
        if self.training
        else (Steps.forward(self, latent))
    )


def break_the_graph(self: Steps, latent: Tensor) -> Tensor:
    torch._dynamo.graph_break()
    return Steps.forward(self, latent)


@pytest.mark.slow
@pytest.mark.parametrize(
    "methods",
    [{"on_progress": anneal_attribute, "forward": sharpen}, {"forward": break_the_graph}],
    ids=["annealed attribute", "breaks the graph"],
)
def test_quantizer_of_many_graphs_is_caught(methods: dict[str, Any]) -> None:
    check_quantizer(make_entry(**methods))
    with pytest.raises(LawBroken, match="makes one graph"):
        check_quantizer(make_entry(**methods), compiled=True)


def build_scores(num_classes: int, image_shape: tuple[int, int, int], width: int = 1) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(image_shape[0] * 64, num_classes * width))


WIDTH = {"description": "Scores of each class.", "type": "integer", "default": 1}


@pytest.mark.parametrize(
    ("changes", "options", "law"),
    [
        ({}, {"width": 2}, "scores"),
        ({"first_layer": "conv1"}, {}, "first_layer and last_layer"),
        ({"options": {}}, {}, "keyword parameters"),
    ],
)
def test_broken_architecture_is_caught(changes, options, law: str) -> None:
    entry = qcli.ArchitectureEntry(
        "scores",
        "",
        "",
        build_scores,
        {"width": WIDTH},
        default_num_classes=10,
        default_image_shape=(3, 8, 8),
    )
    check_architecture(entry)
    with pytest.raises(LawBroken, match=law):
        check_architecture(replace(entry, **changes), options)


def make_splits(**changes: Any) -> qcli.Splits:
    split = qcli.ArraySplit(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4) % 2)
    splits = qcli.Splits(split, split, 2, qcli.Normalization([0.5], [0.5]), ["a", "b"])
    return replace(splits, **changes)


@pytest.mark.parametrize(
    ("changes", "law"),
    [
        ({"num_classes": 1, "class_names": ()}, "Labels are 0"),
        ({"num_classes": 3, "class_names": ()}, "Labels are 0"),
        ({"class_names": ["a"]}, "class names"),
        ({"normalization": qcli.Normalization([0, 0, 0], [1, 1, 1])}, "for each channel"),
        ({"normalization": qcli.Normalization([0], [0])}, "for each channel"),
        ({"test": qcli.ArraySplit(torch.zeros(4, 1, 8, 8), torch.arange(4) % 2)}, "images"),
        (
            {"train": qcli.ArraySplit(torch.zeros(4, 1, 8, 9, dtype=torch.uint8), torch.ones(4))},
            "images",
        ),
        (
            {"train": qcli.ArraySplit(torch.zeros(0, 1, 8, 8, dtype=torch.uint8), torch.arange(0))},
            "images",
        ),
        ({"test": [(torch.zeros(1, 8, 8), 0)]}, "images"),
    ],
)
def test_broken_data_set_is_caught(changes: dict[str, Any], law: str) -> None:
    def make_dataset(splits: qcli.Splits) -> qcli.DatasetEntry:
        return qcli.DatasetEntry(
            "toy", "", "", lambda root, image_shape: splits, num_classes=2, image_shape=(1, 8, 8)
        )

    check_dataset(make_dataset(make_splits()))
    with pytest.raises(LawBroken, match=law):
        check_dataset(make_dataset(make_splits(**changes)))
