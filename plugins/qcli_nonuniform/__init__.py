"""Quantizers whose levels lie at unequal distances, or are learned."""

from __future__ import annotations

from collections.abc import Iterable

from qcli import QuantizerEntry, hookimpl
from qcli_nonuniform.options import LQ_NETS_OPTIONS, QUANTIZATION_NETWORKS_OPTIONS


def _lq_nets() -> QuantizerEntry:
    return QuantizerEntry(
        name="lq_nets",
        summary="Levels are the sums of a few basis values, fitted to the data at every step.",
        source="Zhang et al., LQ-Nets, ECCV 2018, arXiv:1807.10029",
        build="qcli_nonuniform.lq_nets:LQNets",
        options=LQ_NETS_OPTIONS,
    )


def _quantization_networks() -> QuantizerEntry:
    return QuantizerEntry(
        name="quantization_networks",
        summary="A sum of sigmoids that hardens into a staircase over any value space.",
        source="Yang et al., Quantization Networks, CVPR 2019, arXiv:1911.09464",
        build="qcli_nonuniform.quantization_networks:QuantizationNetworks",
        options=QUANTIZATION_NETWORKS_OPTIONS,
    )


@hookimpl
def qcli_register_quantizers() -> Iterable[QuantizerEntry]:
    """Offer lq_nets and quantization_networks."""
    return [_lq_nets(), _quantization_networks()]
