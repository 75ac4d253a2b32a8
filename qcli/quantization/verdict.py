"""Which numbers of the health watch are sick: limits, with their reasons."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qcli.quantization.finding import Finding, History
from qcli.quantization.health import Health

# Ten times float32's epsilon, at which quantizers stop a step that would become negative.
SMALLEST_SIZE = 1.2e-6
SIZES = ("step", "clip", "scale", "gain")
# Ternary weights may have few zeros, and binary values nothing between two ends: levels from 4 on.
FEWEST_LEVELS_WITH_ENDS = 4
# Of a bell curve on four levels, as its quantizers start, a third lies at the ends.
MOST_AT_ENDS = 0.95
# A range that cuts half of the activations passes no gradient for them.
MOST_AT_TOP = 0.5
# A weight may be sparse, and a ReLU sparser: beyond these shares one level is all there is.
FULLEST_WEIGHT, FULLEST_VALUE = 0.99, 0.999
# Beyond 4 bits levels are so narrow that rare ones are empty, and that any update changes codes.
MOST_LEVELS_WITH_USE = 16
MOST_UNUSED = 0.5
FEWEST_VALUES_PER_LEVEL = 16
MOST_FLIPS = 0.2
# At one half most weights have chosen, and entropy may rest.
MOST_ENTROPY_KEPT, DECIDED = 0.9, 0.5


def judge(rows: Sequence[Health], total_epochs: int) -> list[Finding]:
    """Return what is sick after the last of some epochs.

    Args:
        rows: The health after each epoch so far.
        total_epochs: Of the run.
    """
    findings = []
    for place in rows[-1]:
        layer, _, slot = place.rpartition(".")
        epochs = [row.get(place, {}) for row in rows]
        history = History(layer, slot, epochs, total_epochs)
        # A collapsed step leaves levels unused and codes frozen, too: the first is the cause.
        first = next(filter(None, (check(history) for check in CHECKS)), None)
        findings += [first] if first else []
    return findings


def _collapsed(history: History) -> Finding | None:
    sizes = {name: history.last[name] for name in SIZES if name in history.last}
    for name, value in sizes.items():
        if value <= SMALLEST_SIZE:
            text = (
                f"its {name} has collapsed to {value:.3g}, limit {SMALLEST_SIZE:g}; try a smaller "
                "learning rate for it: optimizer.groups.quantizer.lr_factor=0.1"
            )
            return history.find("collapsed", value, SMALLEST_SIZE, text)
    return None


def _one_level(history: History) -> Finding | None:
    value, is_weight = history.last["fullest"], history.slot == "weight"
    limit = FULLEST_WEIGHT if is_weight else FULLEST_VALUE
    if value <= limit:
        return None
    cure = "a smaller lr, or --init-from a float run" if is_weight else "a norm before the layer"
    text = f"{_percent(value)} of the values have one level, limit {_percent(limit)}; try {cure}"
    return history.find("one level", value, limit, text)


def _saturated(history: History) -> Finding | None:
    is_weight = history.slot == "weight"
    value = history.last["ends" if is_weight else "top"]
    limit = MOST_AT_ENDS if is_weight else MOST_AT_TOP
    if history.last["levels"] < FEWEST_LEVELS_WITH_ENDS or value <= limit:
        return None
    has_range = any(name in history.last for name in SIZES)
    if is_weight and not has_range:
        # Nothing is cut off: a search may well like its ends.
        return None
    where = "the two outer levels" if is_weight else "the highest level"
    cure = "a norm before the layer"
    if has_range:
        cure = "a wider start of the range, or another optimizer.groups.quantizer.lr_factor"
    text = (
        f"{_percent(value)} of the values are saturated in {where}, limit {_percent(limit)}; "
        f"try {cure}"
    )
    return history.find("saturated", value, limit, text)


def _unused(history: History) -> Finding | None:
    levels, value = history.last["levels"], history.last["unused"]
    limit = MOST_UNUSED * levels
    is_fine = levels > MOST_LEVELS_WITH_USE or value <= limit
    if is_fine or history.last["count"] < FEWEST_VALUES_PER_LEVEL * levels:
        return None
    text = (
        f"{value:g} of {levels:g} levels are unused, limit {limit:g}; try a narrower start of the "
        "range, fewer bits, or no negative levels where nothing is negative"
    )
    return history.find("unused levels", value, limit, text)


def _frozen(history: History) -> Finding | None:
    flips = [numbers.get("flips") for numbers in history.epochs[: history.quarter]]
    if not flips or len(flips) < history.quarter or any(flip != 0 for flip in flips):
        return None
    text = (
        f"0 % of the codes changed in the first {len(flips)} epochs, limit above 0 %; try a larger "
        "learning rate for it: optimizer.groups.latent.lr_factor=10"
    )
    return history.find("frozen", 0.0, 0.0, text)


def _oscillating(history: History) -> Finding | None:
    value = history.last.get("flips", 0.0)
    if not history.is_in_last_quarter or value <= MOST_FLIPS:
        return None
    if history.last["levels"] > MOST_LEVELS_WITH_USE:
        return None
    text = (
        f"{_percent(value)} of the codes changed in an epoch of the last quarter, limit "
        f"{_percent(MOST_FLIPS)}: it oscillates; try an lr that ends at 0 (cosine), or less"
    )
    return history.find("oscillating", value, MOST_FLIPS, text)


def _undecided(history: History) -> Finding | None:
    start, value = (numbers.get("entropy") for numbers in (history.epochs[0], history.last))
    is_early = not history.quarter or 2 * len(history.epochs) <= history.total_epochs
    if start is None or value is None or is_early:
        return None
    limit = max(MOST_ENTROPY_KEPT * start, DECIDED)
    if value <= limit:
        return None
    text = (
        f"its entropy is {value:.3f} after half of the run, limit {limit:.3f}; try a larger "
        "optimizer.groups.latent.lr_factor, or a temperature that falls faster"
    )
    return history.find("undecided", value, limit, text)


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


CHECKS: tuple[Callable[[History], Finding | None], ...] = (
    _collapsed,
    _one_level,
    _saturated,
    _unused,
    _frozen,
    _oscillating,
    _undecided,
)
