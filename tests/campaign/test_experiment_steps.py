"""Shipped experiments take two steps on random images of their shapes."""

import pytest
import torch

from qcli.catalog.load import load_catalog
from qcli.quantization.calibration import calibrate
from qcli.recipe.experiment import load_tables
from qcli.recipe.schedule import Progress
from qcli.recipe.setting import resolve_setting
from qcli.training.assembly import assemble
from qcli.training.batches import MicroBatch
from qcli.training.evaluation import Tally
from qcli.training.learner import make_learner
from qcli.training.record import SessionOptions
from qcli.training.session import open_accelerator

CATALOG = load_catalog()
ROWS = {row.id: row for table in load_tables() for row in table.rows}
STEPS = 2
BATCH = 2
# Widths are alike but in these networks, which take least time.
SMALL = ("lenet", "resnet20", "simplenet")


def likeness(row):
    """Return what rows share whose steps are alike: large networks stand for all their widths."""
    method = (row.quantization or "float").partition("-w")[0]
    is_small = row.architecture.startswith(SMALL)
    return row.id if is_small else (row.architecture, row.dataset_name, method)


# Of rows that are alike the last one.
CHOSEN = {likeness(row): row.id for row in ROWS.values()}


def make_batches(setting):
    generator = torch.Generator().manual_seed(0)
    classes = setting.dataset.num_classes or setting.architecture.default_num_classes
    return classes, [
        MicroBatch(
            torch.randn(BATCH, *setting.image_shape, generator=generator),
            torch.randint(classes, (BATCH,), generator=generator),
        )
        for _ in range(STEPS)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", CHOSEN.values())
def test_two_steps(name):
    torch.manual_seed(0)
    setting = resolve_setting(ROWS[name].request(), CATALOG)
    classes, batches = make_batches(setting)
    assembly = assemble(setting, CATALOG, classes)
    calibrate(assembly.model, [batch.images for batch in batches])
    accelerator = open_accelerator(setting.training, SessionOptions(cpu=True))
    learner = make_learner(accelerator, assembly.model, setting.training)
    before = {name: each.detach().clone() for name, each in assembly.model.named_parameters()}
    tally = Tally(torch.device("cpu"))
    for step, batch in enumerate(batches):
        learner.step([batch], Progress(step, 10, 0, 1), tally)
    assert tally.read().count == STEPS * BATCH
    changed = [
        name for name, each in assembly.model.named_parameters() if not each.equal(before[name])
    ]
    assert changed
    assert all(each.isfinite().all() for each in assembly.model.parameters())
