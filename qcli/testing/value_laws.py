"""Laws of what a quantizer emits: shapes, values, codes, and what deployment reads of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from qcli.quantization.quantizer import Quantizer
from qcli.testing.case import SEED, Case, bits_of, evaluate, same_bits


def keeps_shape_and_dtype(case: Case) -> Iterator[str]:
    """Forward returns the quantized tensor's shape and the latent's dtype, float32 or bfloat16."""
    quantizer, latent = case.start()
    for dtype in (torch.float32, torch.bfloat16):
        given = latent.to(dtype)
        for mode, result in (("train", quantizer(given)), ("eval", evaluate(quantizer, given))):
            if result.shape != case.tensor.shape:
                yield f"{mode} mode made {tuple(case.tensor.shape)} into {tuple(result.shape)}"
            if result.dtype != dtype:
                yield f"{mode} mode made {dtype} into {result.dtype}"


def emits_numbers(case: Case) -> Iterator[str]:
    """Forward emits finite numbers in train and eval mode."""
    quantizer, latent = case.start()
    for mode, result in (("train", quantizer(latent)), ("eval", evaluate(quantizer, latent))):
        broken = int((~result.isfinite()).sum())
        if broken:
            yield f"{broken} of {result.numel()} numbers in {mode} mode are NaN or infinite"


def evaluates_alike(case: Case) -> Iterator[str]:
    """Eval mode is deterministic: the same latent gives the same bits."""
    quantizer, latent = case.start()
    if not same_bits(evaluate(quantizer, latent), evaluate(quantizer, latent)):
        yield "two passes in eval mode differ"


def has_codebook(case: Case) -> Iterator[str]:
    """The codebook is float32 [K] or [O, K], finite."""
    quantizer, _ = case.start()
    book = quantizer.codebook()
    channels = case.info.shape[case.info.channel_axis] if case.info.role == "weight" else None
    if book.dtype != torch.float32:
        yield f"a codebook of {book.dtype}"
    if not quantizer.quantizes:
        return
    if book.dim() not in (1, 2) or (book.dim() == 2 and len(book) != channels):
        yield f"a codebook of shape {tuple(book.shape)}"
    if not book.isfinite().all():
        yield "a codebook with NaN or infinite values"


def shows_what_it_rounds(case: Case) -> Iterator[str]:
    """Reports can draw continuous(x): numbers of the quantized shape, the latent left alone."""
    quantizer, latent = case.start()
    before = latent.clone()
    with torch.no_grad():
        shown = quantizer.continuous(latent)
    if shown.shape != case.tensor.shape:
        yield f"continuous made {tuple(case.tensor.shape)} into {tuple(shown.shape)}"
    if not shown.isfinite().all():
        yield "continuous returned NaN or infinite values"
    if not same_bits(latent, before):
        yield "continuous changed the latent"


def stays_in_codebook(case: Case) -> Iterator[str]:
    """Every value that eval mode emits is in codebook(), bit for bit."""
    quantizer, latent = case.start()
    if quantizer.quantizes:
        yield from _strangers(quantizer, evaluate(quantizer, latent), case)


def _strangers(quantizer: Quantizer, result: Tensor, case: Case) -> Iterator[str]:
    book = quantizer.codebook().detach()
    rows = result.reshape(1, -1)
    if book.dim() == 2:
        rows = result.movedim(case.info.channel_axis, 0).flatten(1)
    book = book if book.dim() == 2 else book.unsqueeze(0)
    known = (bits_of(rows).unsqueeze(-1) == bits_of(book).unsqueeze(1)).any(-1)
    if not known.all():
        yield f"{float(rows[~known][0])!r} is not among {book[0].tolist()}"


def has_codes(case: Case) -> Iterator[str]:
    """codes() is int32, of the quantized shape, within 0..K-1."""
    quantizer, latent = case.start()
    if not quantizer.quantizes:
        return
    with torch.no_grad():
        codes = quantizer.eval().codes(latent)
    levels = quantizer.codebook().shape[-1]
    if codes.dtype != torch.int32:
        yield f"codes of {codes.dtype}"
    if codes.shape != case.tensor.shape:
        yield f"codes of shape {tuple(codes.shape)} for {tuple(case.tensor.shape)}"
    if codes.min() < 0 or codes.max() >= levels:
        yield f"codes from {int(codes.min())} to {int(codes.max())} for {levels} levels"


def decodes_exactly(case: Case) -> Iterator[str]:
    """decode(codes(x)) is what eval mode emits, bit for bit, rounded once to the latent's dtype."""
    quantizer, latent = case.start()
    if not quantizer.quantizes:
        return
    for dtype in (torch.float32, torch.bfloat16):
        given = latent.to(dtype)
        emitted = evaluate(quantizer, given)
        with torch.no_grad():
            decoded = quantizer.eval().decode(quantizer.codes(given)).to(dtype)
        if not same_bits(emitted, decoded):
            place = int((bits_of(emitted) != bits_of(decoded)).flatten().int().argmax())
            pair = (float(emitted.flatten()[place]), float(decoded.flatten()[place]))
            yield f"{dtype}: eval mode emits {pair[0]!r} where decode gives {pair[1]!r}"


def lies_on_grid(case: Case) -> Iterator[str]:
    """grid(), where it is not None, gives the codebook back exactly, in integers and steps."""
    quantizer, _ = case.start()
    grid = quantizer.grid()
    if grid is None:
        return
    for name, integers in {"integers": grid.integers, "zero_point": grid.zero_point}.items():
        if integers.dtype != torch.int32:
            yield f"{name} of {integers.dtype}"
    values, book = grid.values().detach(), quantizer.codebook().detach()
    if values.shape != book.shape or not torch.equal(values, book):
        yield f"the grid gives {values.tolist()}, the codebook is {book.tolist()}"


def sums_planes(case: Case) -> Iterator[str]:
    """planes(), where it is not None, adds up to the codebook within a float32 rounding."""
    quantizer, _ = case.start()
    planes = quantizer.planes()
    if planes is None:
        return
    if (planes.steps.dtype, planes.integers.dtype) != (torch.float64, torch.int32):
        yield f"steps of {planes.steps.dtype} and integers of {planes.integers.dtype}"
    values, book = planes.values().detach(), quantizer.codebook().detach()
    infinity = torch.tensor(torch.inf)
    off = (values < book.nextafter(-infinity)) | (values > book.nextafter(infinity))
    if values.shape != book.shape or bool(off.any()):
        yield f"the planes give {values.tolist()}, the codebook is {book.tolist()}"


def counts_thresholds(case: Case) -> Iterator[str]:
    """thresholds() agrees with codes() on each tau, its float32 neighbors and random data."""
    if case.info.role == "weight":
        return
    quantizer, latent = case.start()
    thresholds = quantizer.eval().thresholds()
    if thresholds is None:
        return
    tau, levels = thresholds.tau, quantizer.codebook().shape[-1]
    if tau.dtype != torch.float64 or tau.shape != (levels - 1,) or bool((tau.diff() < 0).any()):
        yield f"tau is no ascending float64 [{levels - 1}]: {tau.tolist()}"
    x = torch.cat([_around(tau[tau.isfinite()].float()), latent.flatten(), _random_like(latent)])
    with torch.no_grad():
        counted, codes = thresholds.codes(x), quantizer.codes(x)
    if not torch.equal(counted, codes):
        place = int((counted != codes).int().argmax())
        yield f"x = {float(x[place])!r}: {int(counted[place])} reached, code {int(codes[place])}"


def _around(tau: Tensor) -> Tensor:
    infinity = torch.tensor(torch.inf)
    zeros = torch.tensor([0.0, -0.0])
    return torch.cat([tau, tau.nextafter(infinity), tau.nextafter(-infinity), zeros])


def _random_like(latent: Tensor) -> Tensor:
    draws = torch.randn(1000, generator=torch.Generator().manual_seed(SEED + 1))
    return draws * max(1e-30, float(latent.abs().max()))
