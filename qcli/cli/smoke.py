"""`qcli train --smoke`: whether a recipe works from end to end, on images that are made up."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from qcli.catalog.catalog import Catalog
from qcli.catalog.given_options import parse_options
from qcli.cli.forms import FormWriter, choose_forms
from qcli.cli.stopping import stopped_by_signals
from qcli.errors import ExportError, Interrupted, MissingTool, TargetError, UsageError
from qcli.recipe.checking import fill_defaults, options_schema
from qcli.recipe.setting import Setting
from qcli.recipe.training import TrainingRecipe

if TYPE_CHECKING:
    from qcli.deployment.deployment import Deployment
    from qcli.deployment.preparation import Prepared
    from qcli.deployment.verdict import Verdict
    from qcli.reporting.smoke import SmokeReport

# The data set that makes images of any shape and number of classes.
IMAGES = "synthetic"
STEPS = 2
MOST_IMAGES_OF_A_STEP = 16
TEST_IMAGES = 16
# For every form; C on a small machine runs a large network in seconds.
VERIFIED_IMAGES = 4
# What says how long, where images come from, or who hears of it.
WITHOUT_EFFECT = {
    "data_dir": "-p",
    "download": "--download",
    "epochs": "--epochs",
    "trackers": "--tracker",
    "patience": "--patience",
    "tensorboard": "--tensorboard",
}


def run_smoke(setting: Setting, options: Mapping[str, Any], catalog: Catalog) -> None:
    """Train two steps, evaluate, export and verify; leave nothing behind, unless -o is given.

    Raises:
        QcliError: Whatever the whole run would end with.
        TargetError: A form differs from the integers.
    """
    from qcli.reporting.smoke import SmokeReport

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("--smoke runs in one process; leave out the launcher")
    report = SmokeReport()
    for name, flag in WITHOUT_EFFECT.items():
        if options.get(name):
            report.note(f"{flag} has no effect with --smoke")
    if options["threads"] == "auto":
        report.note("--threads auto has no effect with --smoke")
    small = make_small(setting, catalog, teacher=options["teacher"], note=report.note)
    with stopped_by_signals(), TemporaryDirectory(prefix="qcli-smoke-") as temporary:
        run = options["work_dir"] or Path(temporary) / "run"
        _train(small, run, options, catalog, report)
        _evaluate(run, options, report)
        faults = _deploy(run, Path(temporary), options, catalog, report)
    report.end(options["work_dir"], faults)
    if faults:
        raise TargetError("\n".join(faults))


def make_small(
    setting: Setting, catalog: Catalog, *, teacher: Path | None, note: Any = lambda text: None
) -> Setting:
    """Return a setting for two steps on images that are made up, else as it was.

    Args:
        setting: What is to be tried.
        catalog: Where the data set is found that makes images.
        teacher: A run to learn from; without one a recipe that distills does so without it.
        note: Hears what is otherwise than in the recipe.
    """
    recipe = setting.training
    assert recipe is not None
    channels, height, width = setting.image_shape
    if height != width:
        raise UsageError(f"--smoke makes square images; the network takes {height} x {width}")
    batch = min(recipe.batch_size, MOST_IMAGES_OF_A_STEP * recipe.accumulate)
    held = 0.5 if recipe.validation_fraction else 0.0
    entry = catalog.dataset(IMAGES)
    own = setting.dataset.num_classes if setting.dataset else None
    asked = {
        "num_classes": own or setting.architecture.default_num_classes,
        "train_images": round(STEPS * batch / (1 - held)),
        "test_images": TEST_IMAGES,
    }
    data: dict[str, Any] = fill_defaults(asked, options_schema(entry.options))
    shape = {"image_size": height, "channels": channels}
    changes: dict[str, Any] = {"epochs": 1, "batch_size": batch, "health": "off"}
    changes["validation_fraction"] = held
    if recipe.compile:
        note("compile is left out: it takes minutes")
        changes["compile"] = False
    if recipe.distill and teacher is None:
        note("distill is left out: there is no --teacher")
        changes["distill"] = None
    document = {**recipe.document, **changes, "dataset": {"name": IMAGES, **shape, **data}}
    note(
        f"{STEPS} steps of {batch} made-up images, {channels} x {height} x {width}, "
        f"{asked['num_classes']} classes"
    )
    return replace(
        setting,
        training=TrainingRecipe.from_json(document),
        dataset=entry,
        dataset_options=data,
        image_size=height,
        channels=channels,
    )


def _train(
    setting: Setting,
    run: Path,
    options: Mapping[str, Any],
    catalog: Catalog,
    report: SmokeReport,
) -> None:
    from qcli.reporting.console import TrainingReport
    from qcli.training.record import SessionOptions
    from qcli.training.session import run_session

    session = SessionOptions(
        init_from=options["init_from"],
        teacher=options["teacher"],
        work_dir=run,
        cpu=options["cpu"],
        threads=None if options["threads"] == "auto" else options["threads"],
        plugins=options["plugins"],
        argv=sys.argv,
    )
    begun = time.monotonic()
    try:
        run_session(setting, session, catalog, TrainingReport(quiet=True))
    except Interrupted as error:
        signal_number = error.exit_code - 128
        raise Interrupted("interrupted; nothing is proved", signal_number) from None
    report.step("train", f"{STEPS} steps", time.monotonic() - begun)


def _evaluate(run: Path, options: Mapping[str, Any], report: SmokeReport) -> None:
    from qcli.training.reevaluation import evaluate_run

    begun = time.monotonic()
    metrics = evaluate_run(run, cpu=options["cpu"], plugins=options["plugins"]).metrics
    told = f"{metrics.count} images, loss {metrics.loss:.4f}"
    report.step("evaluate", told, time.monotonic() - begun)


def _deploy(
    run: Path, folder: Path, options: Mapping[str, Any], catalog: Catalog, report: SmokeReport
) -> list[str]:
    """Write and verify every form that can hold the network; return what differs."""
    from qcli.deployment.preparation import prepare_run

    given = {"plugins": options["plugins"]}
    try:
        prepared = prepare_run(run, **given)
    except ExportError as error:
        report.not_ready(error.faults)
        prepared = prepare_run(run, integers=False, **given)
    for offer in catalog.of_kind("exporters").values():
        entry: Any = offer.entry
        if not entry.needs_integers:
            report.step(f"export {entry.name}", *_write(entry, prepared.deployment, folder))
    return _verify(prepared, catalog, folder, report) if prepared.deployment.graph else []


def _write(entry: Any, deployment: Deployment, folder: Path) -> tuple[str, float]:
    from qcli.deployment.writing import size_of, write_form
    from qcli.reporting.console import format_bytes

    path, begun = folder / f"{entry.name}{entry.suffix}", time.monotonic()
    try:
        write_form(entry, deployment, path, parse_options(entry, ()))
        told = format_bytes(size_of(path))
    except (MissingTool, ExportError) as error:
        told = "skipped: " + "; ".join(str(error).splitlines())
    return told, time.monotonic() - begun


def _verify(prepared: Prepared, catalog: Catalog, folder: Path, report: SmokeReport) -> list[str]:
    from qcli.deployment.verification import verify
    from qcli.reporting.deployment import tell_verdict

    begun = time.monotonic()
    writer = FormWriter(prepared, catalog, "exact", folder, demanded=False)
    written = [writer.write(name, settings) for name, settings in choose_forms(catalog, ())]
    ready = [each.artifact for each in written if not each.skipped]
    skipped: list[Verdict] = [each for each in written if each.skipped]
    found = verify(prepared, ready, data_dir=None, most_images=VERIFIED_IMAGES)
    found = found.with_skipped(skipped)
    for verdict in found.verdicts:
        report.step(f"verify {verdict.artifact.label}", tell_verdict(verdict, found.graph))
    report.step("verify", f"{found.reference.images} images", time.monotonic() - begun)
    return found.faults if found.failed else []
