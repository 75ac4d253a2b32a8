"""What a dry run tells, against numbers worked out by hand."""

import pytest

from qcli.campaign.estimate import estimate_jobs
from qcli.campaign.job import Campaign
from qcli.catalog.load import load_catalog
from qcli.recipe.experiment import Row

# LeNet-5 20-50-500 at 28 x 28 with biases, from the layers' shapes.
PARAMETERS = 20 * 26 + 50 * 501 + 500 * 801 + 10 * 501
MACS = 20 * 25 * 24**2 + 50 * 500 * 8**2 + 500 * 800 + 10 * 500
TRAIN, TEST = 1437, 360


@pytest.fixture
def estimate(tmp_path):
    def make(**changes):
        set = {"epochs": 3, "batch_size": 32, **changes}
        row = Row("x", "lenet5_caffe", "lenet5-digits-20ep", set=set)
        (found,) = estimate_jobs(Campaign(tmp_path).jobs([row]), load_catalog(), None, cpu=True)
        return found

    return make


def test_work_and_disk(estimate):
    found = estimate(optimizer={"name": "adam"})
    assert (found.state, found.problem, found.images) == ("new", "", 3 * TRAIN)
    assert found.macs == 3 * MACS * (3 * TRAIN + TEST)
    # Best and last weights; two checkpoints with Adam's two moments.
    assert found.disk_bytes == 4 * PARAMETERS * (2 + 2 * (1 + 2))
    assert found.seconds > 0


def test_memory_grows_with_the_batch_and_the_optimizer(estimate):
    small = estimate(optimizer={"name": "sgd"})
    adam = estimate(optimizer={"name": "adam"})
    assert adam.memory_bytes - small.memory_bytes == 4 * PARAMETERS
    large = estimate(optimizer={"name": "sgd"}, batch_size=64)
    # At least the two convolutions' outputs and what the linear layers receive.
    assert large.memory_bytes - small.memory_bytes >= 32 * 4 * (20 * 24**2 + 50 * 8**2 + 800 + 500)
    halves = estimate(optimizer={"name": "sgd"}, batch_size=64, accumulate=2)
    assert halves.memory_bytes == small.memory_bytes


def test_data_that_are_not_there_are_told(tmp_path):
    row = Row("x", "lenet5_caffe", "lenet5-mnist-100ep")
    jobs = Campaign(tmp_path).jobs([row])
    (found,) = estimate_jobs(jobs, load_catalog(), tmp_path / "nowhere", cpu=True)
    assert "nowhere" in found.problem
    assert (found.images, found.macs, found.seconds) == (None, None, None)
