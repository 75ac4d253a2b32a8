"""Categorical weight search: every weight picks its value from a given value space."""

from __future__ import annotations

from collections.abc import Iterable

from qcli import QuantizerEntry, hookimpl
from qcli_categorical.options import SEARCH_OPTIONS


@hookimpl
def qcli_register_quantizers() -> Iterable[QuantizerEntry]:
    """Offer categorical."""
    return [
        QuantizerEntry(
            name="categorical",
            summary="Every weight picks its value from a given value space by trained logits.",
            source=(
                "Yang et al., Searching for Low-Bit Weights in Quantized Neural Networks, "
                "NeurIPS 2020, arXiv:2009.08695; straight-through form of DNN-weight-search"
            ),
            build="qcli_categorical.search:CategoricalSearch",
            options=SEARCH_OPTIONS,
            quantizes=frozenset({"weight"}),
        )
    ]
