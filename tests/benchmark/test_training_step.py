"""Steps in process are those of `qcli train`."""

import pytest
import torch

from qcli.benchmark.training_step import (
    NUM_BATCHES,
    STEPS_OF_A_GPU_UNIT,
    draw_batches,
    make_arm,
    make_step,
    make_training,
)
from qcli.recipe.setting import Request

DIGITS = Request(train_json="lenet5-digits-20ep", overrides=("batch_size=8",))
SEARCH = Request(**{**vars(DIGITS), "quant_json": "search-1b"})


@pytest.mark.parametrize("request_", [DIGITS, SEARCH], ids=["float", "search-1b"])
def test_a_unit_is_one_step_of_the_recipes_batch(request_):
    training = make_training(request_)
    before = {key: value.clone() for key, value in training.learner.network.named_parameters()}
    training.step([draw_batches(training.setting, training.device)[0]], 0)
    after = dict(training.learner.network.named_parameters())
    assert all(not torch.equal(value, before[key]) for key, value in after.items())
    assert make_step(request_).images == 8


def test_batches_are_many_and_in_the_layout_of_the_recipe():
    request_ = Request(**{**vars(DIGITS), "overrides": ("batch_size=8", "channels_last=true")})
    training = make_training(request_)
    batches = draw_batches(training.setting, training.device)
    assert len(batches) == NUM_BATCHES
    assert len({batch.images.sum().item() for batch in batches}) == NUM_BATCHES
    for batch in batches:
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.images.shape == (8, *training.setting.image_shape)
        assert 0 <= batch.labels.min() <= batch.labels.max() < 10


def test_a_unit_on_a_gpu_is_several_steps_and_their_end(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: calls.append("wait"))
    arm = make_arm(lambda: calls.append("step"), 128, torch.device("cuda"))
    arm.unit()
    assert calls == ["step"] * STEPS_OF_A_GPU_UNIT + ["wait"]
    assert arm.images == STEPS_OF_A_GPU_UNIT * 128
