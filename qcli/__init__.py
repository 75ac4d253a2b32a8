"""qcli trains low-bit neural networks from recipes and deploys exactly what was trained.

The names below are the public API: what plugins import, and what a Python program needs. They are
loaded when first used, so that `import qcli` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qcli.catalog.entries import ArchitectureEntry as ArchitectureEntry
    from qcli.catalog.entries import DatasetEntry as DatasetEntry
    from qcli.catalog.entries import ExporterEntry as ExporterEntry
    from qcli.catalog.entries import HealthCheckEntry as HealthCheckEntry
    from qcli.catalog.entries import HealthFinding as HealthFinding
    from qcli.catalog.entries import HealthRequest as HealthRequest
    from qcli.catalog.entries import Member as Member
    from qcli.catalog.entries import QuantizerEntry as QuantizerEntry
    from qcli.catalog.hookspecs import hookimpl as hookimpl
    from qcli.catalog.load import load_catalog as load_catalog
    from qcli.deployment.deployment import Deployment as Deployment
    from qcli.errors import ArtifactError as ArtifactError
    from qcli.errors import DataError as DataError
    from qcli.errors import ExportError as ExportError
    from qcli.errors import MissingTool as MissingTool
    from qcli.errors import PlanError as PlanError
    from qcli.errors import QcliError as QcliError
    from qcli.errors import UsageError as UsageError
    from qcli.errors import suggest as suggest
    from qcli.quantization.grid import Grid as Grid
    from qcli.quantization.grid import Thresholds as Thresholds
    from qcli.quantization.grid import fit_grid as fit_grid
    from qcli.quantization.ops import all_reduce_max as all_reduce_max
    from qcli.quantization.ops import all_reduce_sum as all_reduce_sum
    from qcli.quantization.ops import keep_between as keep_between
    from qcli.quantization.ops import keep_inside as keep_inside
    from qcli.quantization.ops import pass_inside as pass_inside
    from qcli.quantization.ops import round_ste as round_ste
    from qcli.quantization.ops import scale_gradient as scale_gradient
    from qcli.quantization.ops import signs as signs
    from qcli.quantization.ops import straight_through as straight_through
    from qcli.quantization.planes import Planes as Planes
    from qcli.quantization.planner import make_plan as make_plan
    from qcli.quantization.quantizer import ParameterDefaults as ParameterDefaults
    from qcli.quantization.quantizer import Quantizer as Quantizer
    from qcli.quantization.quantizer import TensorInfo as TensorInfo
    from qcli.quantization.surgery import bake as bake
    from qcli.quantization.surgery import latents as latents
    from qcli.quantization.surgery import quantize as quantize
    from qcli.quantization.surgery import quantizers as quantizers
    from qcli.recipe.schedule import Progress as Progress
    from qcli.recipe.schedule import Schedule as Schedule
    from qcli.recipe.value_space import VALUE_SPACE_SCHEMA as VALUE_SPACE_SCHEMA
    from qcli.recipe.value_space import expand_value_space as expand_value_space
    from qcli.training.revival import load_run as load_run
    from qcli.training.splits import ArraySplit as ArraySplit
    from qcli.training.splits import ImageSplit as ImageSplit
    from qcli.training.splits import Normalization as Normalization
    from qcli.training.splits import Splits as Splits

__version__ = "0.1.0"

_HOME = {
    "qcli.catalog.entries": (
        "ArchitectureEntry",
        "DatasetEntry",
        "ExporterEntry",
        "HealthCheckEntry",
        "HealthFinding",
        "HealthRequest",
        "Member",
        "QuantizerEntry",
    ),
    "qcli.catalog.hookspecs": ("hookimpl",),
    "qcli.catalog.load": ("load_catalog",),
    "qcli.deployment.deployment": ("Deployment",),
    "qcli.errors": (
        "ArtifactError",
        "DataError",
        "ExportError",
        "MissingTool",
        "PlanError",
        "QcliError",
        "UsageError",
        "suggest",
    ),
    "qcli.quantization.grid": ("Grid", "Thresholds", "fit_grid"),
    "qcli.quantization.ops": (
        "all_reduce_max",
        "all_reduce_sum",
        "keep_between",
        "keep_inside",
        "pass_inside",
        "round_ste",
        "scale_gradient",
        "signs",
        "straight_through",
    ),
    "qcli.quantization.planes": ("Planes",),
    "qcli.quantization.planner": ("make_plan",),
    "qcli.quantization.quantizer": ("ParameterDefaults", "Quantizer", "TensorInfo"),
    "qcli.quantization.surgery": ("bake", "latents", "quantize", "quantizers"),
    "qcli.recipe.schedule": ("Progress", "Schedule"),
    "qcli.recipe.value_space": ("VALUE_SPACE_SCHEMA", "expand_value_space"),
    "qcli.training.revival": ("load_run",),
    "qcli.training.splits": ("ArraySplit", "ImageSplit", "Normalization", "Splits"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)
