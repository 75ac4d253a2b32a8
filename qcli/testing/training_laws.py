"""Laws of how a quantizer trains: gradients, schedules, steps, copies and checkpoints."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from qcli.quantization.quantizer import Quantizer
from qcli.testing.case import MOMENTS, SEED, Case, evaluate, same_bits
from qcli.testing.step_cost import measure_step


def passes_gradients(case: Case) -> Iterator[str]:
    """In train mode the latent and each own parameter get a finite gradient."""
    quantizer, latent = case.start()
    latent.requires_grad_()
    result = quantizer(latent)
    generator = torch.Generator().manual_seed(SEED)
    result.backward(torch.randn(result.shape, generator=generator))
    trained = {name: each for name, each in quantizer.named_parameters() if each.requires_grad}
    for name, each in {"the latent": latent, **trained}.items():
        if each.grad is None:
            yield f"{name} gets no gradient"
        elif not each.grad.isfinite().all():
            yield f"the gradient of {name} has NaN or infinite values"
    # One or two numbers can lie where the true gradient is 0.
    typical = case.kind == "normal" and case.tensor.numel() > 2
    if typical and latent.grad is not None and not latent.grad.any():
        yield "the gradient of the latent is 0 everywhere"


def gives_its_result_away(case: Case) -> Iterator[str]:
    """What forward returns may be changed in place, as ReLU(inplace=True) does."""
    quantizer, latent = case.start()
    gradients = []
    for in_place in (False, True):
        leaf = latent.clone().requires_grad_()
        result = quantizer(leaf * 1.0)
        result = result.mul_(1.0) if in_place else result * 1.0
        gradients.append(torch.autograd.grad(result.sum(), leaf)[0])
    if not same_bits(*gradients):
        yield "the gradient of the latent is another one then"


def follows_progress_alone(case: Case) -> Iterator[str]:
    """on_progress is pure: the same progress gives the same state, in any order."""
    quantizer, latent = case.start()
    seen: dict[int, dict[str, Tensor]] = {}
    for number in (0, 1, 2, 1, 0, 0, 2):
        quantizer.on_progress(MOMENTS[number])
        found = _snapshot(quantizer, latent)
        for name, value in seen.setdefault(number, found).items():
            if not same_bits(value, found[name]):
                yield f"{name} differs when step {MOMENTS[number].step} comes again"


def _snapshot(quantizer: Quantizer, latent: Tensor) -> dict[str, Tensor]:
    """Return all state, and what train mode makes of it, gathered statistics put back."""
    state = {name: value.detach().clone() for name, value in _tensors(quantizer).items()}
    with torch.no_grad():
        result = copy.deepcopy(quantizer)(latent)
    return {**state, "what train mode emits": result}


def _tensors(quantizer: Quantizer) -> dict[str, Tensor]:
    return {**dict(quantizer.named_parameters()), **dict(quantizer.named_buffers())}


def is_left_alone_by_evaluation(case: Case) -> Iterator[str]:
    """Train, eval and train again: the latent stays, and each mode emits what it did before."""
    quantizer, latent = case.start()
    before = latent.clone()
    evaluated = evaluate(quantizer, latent)
    trained = quantizer(latent).detach()
    if not same_bits(evaluated, evaluate(quantizer, latent)):
        yield "a forward in train mode changes what eval mode emits"
    if not same_bits(trained, quantizer(latent).detach()):
        yield "an evaluation changes what train mode emits"
    if not same_bits(before, latent):
        yield "forward changes the latent"


def survives_step(case: Case) -> Iterator[str]:
    """after_step mends a step that turned every own parameter's sign: finite, in the same order."""
    quantizer, latent = case.start()
    before = quantizer.codebook().detach().diff()
    _step(quantizer, latent, case)
    book = quantizer.codebook().detach()
    if not book.isfinite().all():
        yield f"the codebook is {book.tolist()}"
    if (before.sign() * book.diff().sign() < 0).any():
        yield f"the codebook's order is turned: {book.tolist()}"
    if not latent.isfinite().all() or not evaluate(quantizer, latent).isfinite().all():
        yield "the latent or what eval mode emits has NaN or infinite values"


def _step(quantizer: Quantizer, latent: Tensor, case: Case) -> None:
    """Take a bad optimizer step: every own parameter is carried across 0."""
    quantizer(latent)
    with torch.no_grad():
        for parameter in quantizer.parameters():
            if parameter.requires_grad:
                parameter.neg_()
        quantizer.after_step(case.latent_for_step(latent))


def keeps_state(case: Case) -> Iterator[str]:
    """A fresh quantizer that loads the state dict emits the same bits."""
    quantizer, latent = case.start()
    quantizer(latent)
    with torch.no_grad():
        for parameter in quantizer.parameters():
            parameter.mul_(1.25)
        quantizer.after_step(case.latent_for_step(latent))
    fresh = case.build()
    fresh.load_state_dict(quantizer.state_dict())
    for each in (quantizer, fresh):
        each.on_progress(MOMENTS[1])
    yield from _differences("the fresh one", quantizer, fresh, latent)


def tells_health(case: Case) -> Iterator[str]:
    """health() is finite numbers by name, draws nothing and changes nothing."""
    quantizer, latent = case.start()
    given = case.latent_for_step(latent)
    drawn = torch.get_rng_state()
    before = _snapshot(quantizer, latent)
    for name, number in quantizer.health(given).items():
        if not isinstance(number, float) or not math.isfinite(number):
            yield f"{name} is {number!r}"
    if not torch.equal(drawn, torch.get_rng_state()):
        yield "it draws random numbers"
    for name, after in _snapshot(quantizer, latent).items():
        if not same_bits(after, before[name]):
            yield f"it changes {name}"


def copies(case: Case) -> Iterator[str]:
    """copy.deepcopy gives a quantizer that emits the same bits and shares nothing."""
    quantizer, latent = case.start()
    copied = copy.deepcopy(quantizer)
    yield from _differences("the copy", quantizer, copied, latent)
    addresses = {each.data_ptr() for each in _tensors(quantizer).values() if each.numel()}
    for name, each in _tensors(copied).items():
        if each.numel() and each.data_ptr() in addresses:
            yield f"the copy shares {name}"


def _differences(who: str, quantizer: Quantizer, other: Quantizer, latent: Tensor) -> Iterator[str]:
    if not same_bits(evaluate(quantizer, latent), evaluate(other, latent)):
        yield f"{who} emits other values in eval mode"
    if not same_bits(quantizer.codebook(), other.codebook()):
        yield f"{who} has another codebook"
    with torch.no_grad():
        if not same_bits(quantizer(latent), other(latent)):
            yield f"{who} emits other values in train mode"


def never_waits(case: Case) -> Iterator[str]:
    """A training step never waits for the device: no part of it reads a number back."""
    if case.kind != "normal":
        # What is never read cannot decide about another course.
        return
    quantizer, latent = case.start()
    for moment in MOMENTS:
        for part, waits in measure_step(quantizer, latent, moment).waits.items():
            if waits:
                yield f"{part} waits at step {moment.step}: {', '.join(waits)}"


def compiles_once(case: Case) -> Iterator[str]:
    """torch.compile(fullgraph=True) makes one graph, whatever on_progress changes."""
    quantizer, latent = case.start()
    latent.requires_grad_()
    graphs: list[torch.fx.GraphModule] = []

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(quantizer, fullgraph=True, backend=count)
    for moment in (*MOMENTS, MOMENTS[1]):
        quantizer.on_progress(moment)
        compiled(latent).sum().backward()
        with torch.no_grad():
            quantizer.after_step(case.latent_for_step(latent))
    if len(graphs) != 1:
        yield f"{len(graphs)} graphs over {len(MOMENTS) + 1} steps"
