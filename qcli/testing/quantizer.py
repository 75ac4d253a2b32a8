"""The laws of quantizers, and the check of an entry against all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qcli.catalog.entries import QuantizerEntry
from qcli.testing.case import Case, make_cases
from qcli.testing.entry_laws import describes_options, matches_build, refuses_unknown_option
from qcli.testing.law import Law, check_laws
from qcli.testing.training_laws import (
    compiles_once,
    copies,
    follows_progress_alone,
    gives_its_result_away,
    is_left_alone_by_evaluation,
    keeps_state,
    never_waits,
    passes_gradients,
    survives_step,
    tells_health,
)
from qcli.testing.value_laws import (
    counts_thresholds,
    decodes_exactly,
    emits_numbers,
    evaluates_alike,
    has_codebook,
    has_codes,
    keeps_shape_and_dtype,
    lies_on_grid,
    shows_what_it_rounds,
    stays_in_codebook,
    sums_planes,
)

ENTRY_LAWS: tuple[Law[QuantizerEntry], ...] = (
    describes_options,
    matches_build,
    refuses_unknown_option,
)
LAWS: tuple[Law[Case], ...] = (
    keeps_shape_and_dtype,
    emits_numbers,
    evaluates_alike,
    has_codebook,
    stays_in_codebook,
    shows_what_it_rounds,
    has_codes,
    decodes_exactly,
    lies_on_grid,
    sums_planes,
    counts_thresholds,
    passes_gradients,
    follows_progress_alone,
    is_left_alone_by_evaluation,
    gives_its_result_away,
    survives_step,
    keeps_state,
    tells_health,
    copies,
    never_waits,
)


def check_quantizer(
    entry: QuantizerEntry,
    options: Mapping[str, Any] | None = None,
    *,
    compiled: bool = False,
) -> None:
    """Check a quantizer's entry against every law, in every slot that it fills.

    Each law meets normal, all-zero, constant, tiny (1e-30) and huge (1e30) tensors, and the
    weights of convolutions, transposed convolutions and linear layers.

    Args:
        entry: What the plugin hands over.
        options: Options in place of the defaults.
        compiled: Whether torch.compile is tried too, which takes seconds.

    Raises:
        LawBroken: An AssertionError that names the entry, the slot, the law and what was found.
    """
    check_laws(ENTRY_LAWS, entry, entry.name, "options")
    for case in make_cases(entry, options or {}):
        compiling: tuple[Law[Case], ...] = (compiles_once,) if compiled else ()
        laws = LAWS + (compiling if case.kind == "normal" else ())
        check_laws(laws, case, entry.name, str(case))
