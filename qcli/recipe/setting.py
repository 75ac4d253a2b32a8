"""Everything that defines a run, resolved from the command line before torch is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from qcli.catalog.catalog import Catalog
from qcli.catalog.entries import ArchitectureEntry, DatasetEntry, Shape
from qcli.errors import RecipeError, UsageError
from qcli.recipe.checking import fill_defaults, load_schema
from qcli.recipe.checks import Findings, check_recipe
from qcli.recipe.completion import complete_entries, complete_quantization, complete_training
from qcli.recipe.document import Document, read_document
from qcli.recipe.flags import apply_layer_flags, apply_overrides
from qcli.recipe.quantization import QuantizationRecipe
from qcli.recipe.scaling import Scaling
from qcli.recipe.slots import fill_slots
from qcli.recipe.training import TrainingRecipe


@dataclass(frozen=True)
class Request:
    """What the command line asks for; None and empty: not said."""

    architecture: str | None = None
    dataset: str | None = None
    train_json: str | None = None
    quant_json: str | None = None
    overrides: Sequence[str] = ()
    first_layer: str | None = None
    last_layer: str | None = None
    epochs: int | None = None
    epochs_scale: float | None = None
    seed: int | None = None
    download: bool = False


@dataclass(frozen=True)
class Setting:
    """A checked and complete description of a run.

    Args:
        training: The training recipe; None where only a plan is asked for.
        quantization: The quantization recipe; None: everything stays float.
        architecture: The network's entry.
        architecture_name: What the user calls it: the name with any family member.
        architecture_options: Its keyword arguments.
        dataset: The data set's entry, None where none is named.
        dataset_options: Its keyword arguments.
        image_size: Pixels of a side of the images that the recipe asks for; None: not said.
        channels: Channels of the images that the recipe asks for; None: not said.
        notes: What a flag did that is worth saying.
    """

    training: TrainingRecipe | None
    quantization: QuantizationRecipe | None
    architecture: ArchitectureEntry
    architecture_name: str
    architecture_options: Mapping[str, Any]
    dataset: DatasetEntry | None = None
    dataset_options: Mapping[str, Any] = field(default_factory=dict)
    image_size: int | None = None
    channels: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def image_shape(self) -> Shape:
        """(C, H, W): what the recipe says, else the data set's, else what the network is for."""
        own = self.dataset.image_shape if self.dataset else None
        channels, height, width = own or self.architecture.default_image_shape
        size = self.image_size
        return self.channels or channels, size or height, size or width

    @property
    def starts_trained(self) -> bool:
        """Whether the network comes with trained weights, and the recipe draws none anew."""
        drawn = self.training is not None and self.training.initialization != "default"
        return bool(self.architecture_options.get("pretrained")) and not drawn


@dataclass(frozen=True)
class Settled:
    """The recipes of a command line, checked, with its flags applied.

    Args:
        training: The training recipe; None: none is named.
        quantization: The quantization recipe.
        reasons: For "first_layer" and "last_layer", the flag that set it.
        notes: What a flag did that is worth saying.
    """

    training: Document | None
    quantization: Document | None
    reasons: Mapping[str, str]
    notes: tuple[str, ...] = ()


def resolve_setting(request: Request, catalog: Catalog) -> Setting:
    """Read and check the recipes that a command line names, with its flags applied.

    Raises:
        RecipeError: Every fault of both recipes together.
        PluginError: The only faults are names that no plugin offers.
        UsageError: No network is named, or a flag fits no recipe.
    """
    return _resolve(settle_recipes(request, catalog), request, catalog)


def settle_recipes(request: Request, catalog: Catalog) -> Settled:
    """Read the recipes of a command line, apply its flags, and check them.

    Raises:
        RecipeError: Every fault of both recipes together.
        PluginError: The only faults are names that no plugin offers.
        UsageError: A flag fits no recipe.
    """
    scaling = _scaling(request)
    training, quantization = _read(request)
    training = training and _with_flags(training, request)
    training, quantization = apply_overrides(training, quantization, request.overrides)
    findings = Findings()
    if training:
        findings.add(check_recipe(training, "training", catalog))
    if quantization:
        findings.add(check_recipe(quantization, "quantization", catalog))
    findings.raise_any()
    flags = {"first_layer": request.first_layer, "last_layer": request.last_layer}
    reasons: dict[str, str] = {}
    if quantization:
        quantization, reasons = apply_layer_flags(quantization, flags, catalog)
        findings.add(check_recipe(quantization, "quantization", catalog))
        findings.raise_any()
    elif any(flags.values()):
        raise UsageError("--first-layer and --last-layer need a quantization recipe: --quant-json")
    if scaling:
        training, quantization = _scale(training, quantization, scaling, catalog)
    return Settled(training, quantization, reasons, tuple(scaling.notes) if scaling else ())


def _scaling(request: Request) -> Scaling | None:
    if request.epochs_scale is None:
        return None
    if request.epochs is not None:
        raise UsageError(
            "--epochs cuts a run, --epochs-scale changes its pace with its length; give one of them"
        )
    return Scaling(request.epochs_scale)


def _scale(
    training: Document | None, quantization: Document | None, scaling: Scaling, catalog: Catalog
) -> tuple[Document | None, Document | None]:
    """Scale checked recipes, and check them again: a scale may go beyond what is allowed.

    Defaults are filled in before, for schedules among them must be scaled too.
    """
    findings, label = Findings(), f"--epochs-scale {scaling.scale:g}"
    if training:
        value = scaling.training(fill_defaults(training.value, load_schema("training")))
        training = replace(training, value=value)
        findings.add(check_recipe(Document(label, value), "training", catalog))
    if quantization:
        value = scaling.quantization(fill_slots(quantization.value, catalog), catalog)
        quantization = replace(quantization, value=value)
        findings.add(check_recipe(Document(label, value), "quantization", catalog))
    findings.raise_any()
    return training, quantization


def _read(request: Request) -> tuple[Document | None, Document | None]:
    documents: list[Document | None] = []
    findings = Findings()
    for name, kind in ((request.train_json, "training"), (request.quant_json, "quantization")):
        try:
            documents.append(read_document(name, kind) if name else None)
        except RecipeError as error:
            findings.faults += error.faults
    findings.raise_any()
    training, quantization = documents
    return training, quantization


def _with_flags(document: Document, request: Request) -> Document:
    """Let flags replace what a training recipe says."""
    for part, flag, name in (
        ("architecture", "-a", request.architecture),
        ("dataset", "-d", request.dataset),
    ):
        present = document.value.get(part)
        same = isinstance(present, dict) and present.get("name") == name
        # A recipe that names the same entry keeps the options that it gives it.
        if name is not None and not same:
            document = document.with_value((part,), {"name": name}, f"{flag} {name}")
    for part, number in (("epochs", request.epochs), ("seed", request.seed)):
        if number is not None:
            document = document.with_value((part,), number, f"--{part} {number}")
    if request.download:
        document = document.with_value(("dataset", "download"), True, "--download")
    return document


def _resolve(settled: Settled, request: Request, catalog: Catalog) -> Setting:
    training, quantization = settled.training, settled.quantization
    named = complete_entries(training or _named_entries(request), quantization, catalog)
    if named.architecture is None:
        raise UsageError("no network is named: give -a ARCHITECTURE")
    document = named.document
    dataset_options = _options(document, "dataset")
    # These two change the shape that every data set is asked for: no plugin hears of them.
    shape = {key: dataset_options.pop(key, None) for key in ("image_size", "channels")}
    recipe = TrainingRecipe.from_json(complete_training(document).value) if training else None
    reasons = settled.reasons
    return Setting(
        training=recipe,
        quantization=_read_quantization(quantization, reasons, catalog) if quantization else None,
        architecture=named.architecture,
        architecture_name=named.name,
        architecture_options=_options(document, "architecture") | _member(named.member),
        dataset=named.dataset,
        dataset_options=dataset_options,
        **shape,
        notes=settled.notes,
    )


def _named_entries(request: Request) -> Document:
    """Return what stands for a training recipe where none is given."""
    named = {"architecture": request.architecture, "dataset": request.dataset}
    return Document("command line", {part: {"name": name} for part, name in named.items()})


def _options(document: Document, part: str) -> dict[str, Any]:
    return {key: value for key, value in document.value[part].items() if key != "name"}


def _member(member: str | None) -> dict[str, str]:
    return {} if member is None else {"member": member}


def read_quantization(
    recipe: str | Mapping[str, Any] | QuantizationRecipe | None, catalog: Catalog
) -> QuantizationRecipe | None:
    """Return a quantization recipe that a Python program names or writes as a dict.

    Args:
        recipe: A shipped recipe's name, a path, the JSON object itself, or a finished recipe.
        catalog: Where quantizers are found.

    Raises:
        RecipeError: Every fault of the recipe.
    """
    if recipe is None or isinstance(recipe, QuantizationRecipe):
        return recipe
    document = (
        read_document(recipe, "quantization")
        if isinstance(recipe, str)
        else Document("recipe", dict(recipe))
    )
    check_recipe(document, "quantization", catalog).raise_any()
    return _read_quantization(document, {}, catalog)


def _read_quantization(
    document: Document, reasons: Mapping[str, str], catalog: Catalog
) -> QuantizationRecipe:
    unsaid = {
        part: f"{part}: float by default"
        for part in ("first_layer", "last_layer")
        if part not in document.value
    }
    value = complete_quantization(document, catalog).value
    return QuantizationRecipe.from_json(value, document.label, {**unsaid, **reasons})
