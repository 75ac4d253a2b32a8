"""Value spaces: what every form stands for, and what is refused."""

import re

import pytest

from qcli.recipe.checking import find_faults, options_schema
from qcli.recipe.document import Document
from qcli.recipe.value_space import VALUE_SPACE_SCHEMA, expand_value_space

SCHEMA = options_schema({"space": {**VALUE_SPACE_SCHEMA, "default": [-1, 1]}})


@pytest.mark.parametrize(
    ("space", "values"),
    [
        ([-1, 1], [-1, 1]),
        ([2, -0.5, 0.25], [2, -0.5, 0.25]),
        ({"powers_of_two": [-2, 1]}, [-2, -1, -0.5, -0.25, 0.25, 0.5, 1, 2]),
        ({"powers_of_two": [0, 0]}, [-1, 1]),
        ({"integers": [-2, 1]}, [-2, -1, 0, 1]),
        ({"integers": [-128, 127]}, list(range(-128, 128))),
        ({"linspace": [-1, 1, 4]}, [-1, -1 / 3, 1 / 3, 1]),
        ({"linspace": [3, 0, 2]}, [3, 0]),
    ],
)
def test_forms(space, values):
    assert list(expand_value_space(space)) == pytest.approx(values, abs=1e-15)
    assert all(isinstance(value, float) for value in expand_value_space(space))
    assert find_faults(Document("x", {"space": space}), SCHEMA) == []


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ([1], "found 1 value, allowed: 2 to 256"),
        ([], "found 0 values, allowed: 2 to 256"),
        (list(range(257)), "found 257 values, allowed: 2 to 256"),
        ({"integers": [-32768, 32767]}, "found 65536 values, allowed: 2 to 256"),
        ({"powers_of_two": [-64, 64]}, "found 258 values, allowed: 2 to 256"),
        (
            {"integers": [3, 1]},
            '"integers" runs from 3 down to 1, allowed: the lower bound first; '
            'write {"integers": [1, 3]}',
        ),
        ([1, 1.0], "1 stands twice, allowed: values that differ as float32"),
        ([0.0, 5, -0.0], "0 stands twice, allowed: values that differ as float32"),
        ([0.1, 0.1000000001], "0.1 and 0.1000000001 are one number"),
        ([0, 1e39], "1e+39 is too large for float32"),
    ],
)
def test_faults(space, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        expand_value_space(space)
    assert len(find_faults(Document("x", {"space": space}), SCHEMA)) == 1


@pytest.mark.parametrize("space", [{}, {"integers": [0, 1], "linspace": [0, 1, 2]}, "x", [[1], 2]])
def test_what_is_malformed_is_refused_before_it_is_expanded(space):
    assert len(find_faults(Document("x", {"space": space}), SCHEMA)) == 1
