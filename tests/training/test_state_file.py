"""Nested values come back as they were, and a file can hold nothing else."""

import pytest
import torch
from safetensors.torch import save_file

from qcli.training.state_file import read_state, write_state

VALUES = [
    *(None, True, 3, 10**30, 0.1, float("inf"), "text", [], (), {}),
    {"betas": (0.9, 0.999), 0: [1, None, {"tensor": 1, "order": 2}], "list": {"dict": []}},
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_come_back_with_their_types(tmp_path, value):
    write_state(value, tmp_path / "state")
    found = read_state(tmp_path / "state")
    assert repr(found) == repr(value)


def test_tensors_keep_bits_types_and_layout(tmp_path):
    image = torch.rand(2, 3, 4, 5)
    tensors = {
        "channels_last": image.to(memory_format=torch.channels_last),
        "transposed": torch.rand(3, 4).t(),
        "number": torch.tensor(float("nan")),
        "half": torch.rand(3).bfloat16(),
        "count": torch.tensor([2**62]),
        "empty": torch.empty(0, 3),
    }
    write_state(tensors, tmp_path / "state")
    found = read_state(tmp_path / "state")
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name].nan_to_num(7), tensor.nan_to_num(7))
        assert found[name].stride() == tensor.stride(), name
    # What is trained in place does not reach the file.
    found["count"].zero_()
    assert read_state(tmp_path / "state")["count"].tolist() == [2**62]


@pytest.mark.parametrize("value", [{1.5: 2}, {(1,): 2}, {True: 1}, object(), torch.rand, {1, 2}])
def test_what_it_cannot_hold_is_refused(tmp_path, value):
    with pytest.raises(TypeError, match="cannot be"):
        write_state(value, tmp_path / "state")


TREES = [
    *("{}", '{"object": "os.system"}', '{"tensor": "1", "order": []}', "[", "[" * 100_000),
    *('{"list": 1}', '{"dict": [[1]]}', '{"dict": [[{}, 1]]}', '{"tensor": "0", "order": [5]}'),
]


@pytest.mark.parametrize("tree", TREES, ids=range(len(TREES)))
def test_a_damaged_tree_is_an_error(tmp_path, tree):
    save_file({"0": torch.zeros(1)}, tmp_path / "state", {"tree": tree})
    with pytest.raises((ValueError, KeyError, TypeError, RuntimeError)):
        read_state(tmp_path / "state")
