"""Mutated recipes: always a message or a valid setting, never a traceback, never over a second.

600 cases in the fast set, 10,000 more in the slow one. A case is drawn by its seed alone; to repeat
one: `python tests/faults/recipe_cases.py SEED`.
"""

from collections import Counter

import pytest
from recipe_cases import describe, draw_case, examine

from qcli.catalog.load import load_catalog

FAST = 600
CHUNK = 2_500
# A seed of a valid recipe that quantizes.
VALID = 6


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """Return the catalog, after a first case has imported what the others are timed without."""
    loaded = load_catalog()
    examine(draw_case(VALID), tmp_path_factory.mktemp("first"), loaded, longest_seconds=60)
    return loaded


def fuzz(seeds, folder, catalog, tally):
    """Examine the cases of some seeds; return how many of them had each outcome."""
    (folder / "other.json").write_text('{"extends": "case.json"}', "utf-8")
    outcomes, failures = Counter(), []
    for seed in seeds:
        case = draw_case(seed)
        tally.cases += 1
        try:
            outcomes[examine(case, folder, catalog)] += 1
        except Exception as error:
            tally.tracebacks += 1
            failures.append(describe(case, error))
    assert not failures, "\n".join([f"{len(failures)} failures", *failures[:10]])
    return outcomes


def test_some_mutated_recipes(tmp_path, catalog, tally):
    outcomes = fuzz(range(FAST), tmp_path, catalog, tally)
    # Mutants that nobody can read would find nothing in what follows the reader.
    assert outcomes["valid"] > FAST / 10
    assert outcomes["RecipeError"] > FAST / 2


@pytest.mark.slow
@pytest.mark.parametrize("start", range(FAST, FAST + 10_000, CHUNK))
def test_ten_thousand_mutated_recipes(start, tmp_path, catalog, tally):
    fuzz(range(start, start + CHUNK), tmp_path, catalog, tally)


def test_a_seed_is_a_case():
    assert draw_case(7) == draw_case(7)
    assert len({draw_case(seed).content for seed in range(200)}) > 195
