"""A table of three short runs on the embedded digits: a parent, a child, and one on its own."""

import json

import pytest

RECIPE = {
    "name": "short",
    "architecture": {"name": "lenet5_caffe"},
    "dataset": {"name": "digits"},
    "epochs": 4,
    "batch_size": 64,
    "lr": 0.003,
    "optimizer": {"name": "adam"},
}
TABLE = {
    "name": "short",
    "summary": "Short runs.",
    "source": "here",
    "guessed": ["everything"],
    "defaults": {"architecture": "lenet5_caffe", "training": "./short.train.json"},
    "rows": [
        {"id": "short-float", "reported": {"top1": 0.5}},
        {
            "id": "short-child",
            "quantization": "dorefa-w2a32",
            "init_from": "short-float",
            "set": {"lr": 0.001},
            "reported": {"top1": 0.4},
            "guessed": ["the learning rate"],
        },
        {"id": "short-alone", "quantization": "search-1b"},
    ],
}


@pytest.fixture
def table(tmp_path):
    """Return the path of the table; its training recipe lies beside it."""
    (tmp_path / "short.train.json").write_text(json.dumps(RECIPE))
    path = tmp_path / "short.json"
    path.write_text(json.dumps(TABLE))
    return path
