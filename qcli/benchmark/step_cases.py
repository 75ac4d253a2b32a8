"""Cases of one optimizer step: qcli's methods, compiled too, and peers beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle

import torch
from torch import nn

from qcli.benchmark.case import Arm, Scope
from qcli.benchmark.peers.plain_training import make_plain_step
from qcli.benchmark.training_step import (
    RESNET20,
    arm_of_steps,
    draw_batches,
    make_arm,
    make_step,
    make_training,
)
from qcli.catalog.load import load_catalog
from qcli.recipe.setting import Request, resolve_setting
from qcli.training.assembly import build_float_model

# Peers quantize what lies between the first and the last layer.
LSQ_BETWEEN_FLOAT_ENDS = Request(
    train_json=RESNET20, quant_json="lsq-w4a4", first_layer="float", last_layer="float"
)
RESNET18_OF_32_PIXELS = Request(
    architecture="resnet18", train_json=RESNET20, overrides=("batch_size=32",)
)
# Of the value space of slb-w2a32.
SLB_VALUES = (-1.0, -1 / 3, 1 / 3, 1.0)


def compare_with_float(
    scope: Scope,
    *,
    recipe: str,
    training: str = RESNET20,
    overrides: Sequence[str] = (),
    quantization: Sequence[str] = (),
    cuda: bool = False,
) -> dict[str, Arm]:
    """Return steps of a network quantized by a recipe, and of the float one.

    Args:
        scope: Of no use here.
        recipe: The quantization recipe.
        training: The training recipe.
        overrides: As of --set, for both arms.
        quantization: As of --set, for the quantized arm.
        cuda: Whether to train on the GPU.
    """
    plain = Request(train_json=training, overrides=overrides)
    quantized = replace(plain, quant_json=recipe, overrides=(*overrides, *quantization))
    return {"float": make_step(plain, cuda=cuda), "quantized": make_step(quantized, cuda=cuda)}


def compare_lq_nets(scope: Scope) -> dict[str, Arm]:
    """Return steps of float, of LQ-Nets, and of LQ-Nets in its authors' data flow."""
    from qcli.benchmark.peers.lq_nets_reference import quantize_by_reference_lq

    plain = Request(train_json=RESNET20)
    return {
        "float": make_step(plain),
        "lq_nets-w2a2": make_step(Request(train_json=RESNET20, quant_json="lq_nets-w2a2")),
        "reference": make_peer(plain, lambda model: quantize_by_reference_lq(model, 2)),
    }


def compare_compiled(scope: Scope, *, recipe: str) -> dict[str, Arm]:
    """Return steps of float as it is, and of float and of a recipe compiled."""
    overrides = ("compile=true",)
    compiled = Request(train_json=RESNET20, overrides=overrides)
    quantized = Request(train_json=RESNET20, quant_json=recipe, overrides=overrides)
    return {
        "float": make_step(Request(train_json=RESNET20)),
        "compiled float": make_step(compiled),
        f"compiled {recipe}": make_step(quantized),
    }


def compare_search(scope: Scope) -> dict[str, Arm]:
    """Return steps of float, of search over 4 values, hard and soft, and of SLB by autograd."""
    from qcli.benchmark.peers.softmax_search import quantize_by_softmax_search

    return {
        "float": make_step(RESNET18_OF_32_PIXELS),
        "search-2b": make_step(replace(RESNET18_OF_32_PIXELS, quant_json="search-2b")),
        "slb-w2a32": make_step(replace(RESNET18_OF_32_PIXELS, quant_json="slb-w2a32")),
        "naive SLB": make_peer(
            RESNET18_OF_32_PIXELS,
            lambda model: quantize_by_softmax_search(model, SLB_VALUES, hard=False),
        ),
    }


def compare_naive_lsq(scope: Scope) -> dict[str, Arm]:
    """Return steps of float, of LSQ, and of LSQ by autograd."""
    from qcli.benchmark.peers.naive_lsq import quantize_by_naive_lsq

    plain = Request(train_json=RESNET20)
    return {
        "float": make_step(plain),
        "qcli": make_step(LSQ_BETWEEN_FLOAT_ENDS),
        "naive": make_peer(plain, lambda model: quantize_by_naive_lsq(model, 4)),
    }


def compare_brevitas(
    scope: Scope, *, cuda: bool = False, overrides: Sequence[str] = ()
) -> dict[str, Arm]:
    """Return steps of LSQ, with what is set, and of the same network quantized by Brevitas."""
    from qcli.benchmark.peers.brevitas_network import quantize_by_brevitas

    plain = Request(train_json=RESNET20)
    return {
        "qcli": make_step(replace(LSQ_BETWEEN_FLOAT_ENDS, overrides=overrides), cuda=cuda),
        "Brevitas": make_peer(plain, lambda model: quantize_by_brevitas(model, 4), cuda=cuda),
    }


def share_of_optimizer(scope: Scope) -> dict[str, Arm]:
    """Return a whole step, and its optimizer alone, on gradients that are all there."""
    training = make_training(Request(train_json=RESNET20, quant_json="lsq-w4a4"))
    batches = draw_batches(training.setting, training.device)
    whole = arm_of_steps(training, cycle([batch] for batch in batches))
    optimizer = training.learner.optimizer
    groups = optimizer.param_groups
    parameters = [parameter for group in groups for parameter in group["params"]]

    def unit() -> float:
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        began = time.perf_counter()
        optimizer.step()
        seconds = time.perf_counter() - began
        optimizer.zero_grad()
        return seconds

    return {"step": whole, "optimizer": Arm(unit, whole.images)}


def make_peer(
    request: Request, quantize: Callable[[nn.Module], None], *, cuda: bool = False
) -> Arm:
    """Return plain steps of the float network of a request, quantized by a peer.

    Args:
        request: What to train, with the size of batches.
        quantize: Changes the network in place.
        cuda: Whether to train on the GPU.
    """
    setting = resolve_setting(request, load_catalog())
    assert setting.training is not None
    device = torch.device("cuda" if cuda else "cpu")
    torch.manual_seed(setting.training.seed)
    model = build_float_model(setting)
    quantize(model)
    batches = [(batch.images, batch.labels) for batch in draw_batches(setting, device)]
    step = make_plain_step(model.to(device), cycle(batches))
    return make_arm(step, setting.training.batch_size, device)
