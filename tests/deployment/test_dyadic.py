"""The one rounding of deployment, against numbers worked out by hand and exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from qcli.deployment.boundaries import find_steps
from qcli.deployment.execution import run_node
from qcli.deployment.graph import Quantize, Tensor
from qcli.deployment.lowering.dyadic import FAR, find_midpoints, round_affine, scale_boundaries
from qcli.quantization.grid import find_thresholds

FLOAT32_MAX = float(np.finfo(np.float32).max)
DENORMAL = 2.0**-149


def affine(factors, offset, magnitudes, **options):
    return round_affine(
        *(np.array(each, float) for each in (factors, offset, magnitudes)), **options
    )


def midpoints(tau, strict):
    return find_midpoints(np.array(tau, float), np.array(strict, bool))


def half_even(step, count):
    """Return the thresholds of round(x / step), half to even, cut to 0..count."""
    code = np.arange(1, count + 1)
    return (code - 0.5) * step, code % 2 == 1


def lower_block(factors, offset, tau, strict, low, high):
    """Return a quantization of one accumulator in low..high, and that accumulator."""
    magnitude = max(abs(low), abs(high))
    rounded = round_affine(
        np.array([factors], float), np.array(offset, float), np.array([magnitude])
    )
    points = midpoints(tau, strict)
    boundaries = scale_boundaries(points.points[None], points.inclusive, rounded.shift)
    channels, count = boundaries.shape
    operand = Tensor("sums", (channels,), low, high)
    output = Tensor("codes", (channels,), 0, count)
    affine = (rounded.multipliers, rounded.bias, rounded.shift)
    return Quantize(("sums",), output, *affine, boundaries, np.arange(count + 1)), operand


def round_to_float32(value):
    """Return the float32 nearest to a fraction, the even one of two, as a float64."""
    middle = np.float32(float(value))
    around = [
        np.nextafter(middle, np.float32(-np.inf)),
        middle,
        np.nextafter(middle, np.float32(np.inf)),
    ]
    return float(min(around, key=lambda x: (abs(Fraction(float(x)) - value), x.view(np.int32) & 1)))


def exact_code(factor, offset, accumulator, tau, strict):
    value = round_to_float32(Fraction(factor) * accumulator + Fraction(offset))
    return sum(value > t if s else value >= t for t, s in zip(tau, strict, strict=True))


def test_two_operands_by_hand():
    rounded = affine([[0.75, 0.0], [-3.0, 0.5]], [0.5, -2.0], [15, 255])
    # 3 < 2^2 and 0.5 < 2^0: 31 bits are left for the largest multiplier.
    assert rounded.shift.tolist() == [29, 31]
    assert rounded.multipliers.tolist() == [[3 << 27, 0], [-3 << 29, 1 << 30]]
    assert rounded.bias.tolist() == [1 << 28, -(1 << 32)]


def test_a_large_offset_takes_bits_from_the_multiplier():
    rounded = affine([[2.0**-30]], [1.0], [1])
    # 1 + 2^-30 < 2^1: t stays below 2^60.
    assert rounded.shift.tolist() == [59]
    assert rounded.multipliers.tolist() == [[1 << 29]]
    assert rounded.bias.tolist() == [1 << 59]


@pytest.mark.parametrize(
    ("offset", "bias", "shift"), [(0, 0, 0), (1.0, 1 << 59, 59), (-0.375, -3 << 58, 61)]
)
def test_a_factor_of_zero(offset, bias, shift):
    rounded = affine([[0.0]], [offset], [1000])
    assert (rounded.multipliers.tolist(), rounded.bias.tolist(), rounded.shift.tolist()) == (
        [[0]],
        [bias],
        [shift],
    )


def test_a_multiplier_never_takes_32_bits():
    rounded = affine([[np.nextafter(1.0, 0.0), -np.nextafter(1.0, 0.0)]], [0, 0], [7])
    assert rounded.multipliers.tolist() == [[(1 << 31) - 1, 1 - (1 << 31)]]


@pytest.mark.parametrize("offset", [[0.0, 1.0, -1.0], [0.0, 0.0, 0.0]])
@pytest.mark.parametrize("factors", [[[0.0, 0.0, 0.0]], [[2.0, 0.0, -5.0]]])
def test_scores_share_one_shift(factors, offset):
    rounded = affine(factors, offset, [7], shared=True)
    (shift,) = set(rounded.shift.tolist())
    assert np.ldexp(rounded.bias.astype(float), -shift).tolist() == offset
    assert np.ldexp(rounded.multipliers.astype(float), -shift).tolist() == factors


def test_sums_stay_below_2_to_62_whatever_the_numbers():
    random = np.random.default_rng(0)
    for _ in range(500):
        operands, channels = random.integers(1, 5), 6
        factors = np.ldexp(random.uniform(-1, 1, (operands, channels)), random.integers(-150, 120))
        factors *= random.random(factors.shape) < 0.8
        offset = np.ldexp(random.uniform(-1, 1, channels), random.integers(-150, 120, channels))
        offset *= random.random(channels) < 0.8
        magnitudes = random.integers(0, 1 << 31, operands).astype(float)
        shared = bool(random.random() < 0.3)
        rounded = round_affine(factors, offset, magnitudes, shared=shared)
        reach = [
            sum(abs(int(m)) * int(i) for m, i in zip(column, magnitudes, strict=True)) + abs(int(b))
            for column, b in zip(rounded.multipliers.T, rounded.bias, strict=True)
        ]
        assert max(reach) < FAR
        assert np.abs(rounded.multipliers).max() < 1 << 31
        if not shared:
            exact = np.ldexp(factors, rounded.shift) - rounded.multipliers
            assert np.abs(exact).max() <= 1


# Tau, whether strict, and by hand: the midpoint below the first float32 that reaches, and whether
# that float32 has an even last bit.
MIDPOINTS = [
    (0.5, False, 0.5 - 2.0**-26, True),
    (0.5, True, 0.5 + 2.0**-25, False),
    (1.0 + 2.0**-30, False, 1.0 + 2.0**-24, False),
    (1.0 + 2.0**-30, True, 1.0 + 2.0**-24, False),
    (-1.0, False, -1.0 - 2.0**-24, True),
    (-1.0, True, -1.0 + 2.0**-25, False),
    (0.0, False, -DENORMAL / 2, True),
    (-0.0, False, -DENORMAL / 2, True),
    (0.0, True, DENORMAL / 2, False),
    (DENORMAL, False, DENORMAL / 2, False),
    (DENORMAL, True, 1.5 * DENORMAL, True),
    (2.0**-126, False, 2.0**-126 - DENORMAL / 2, True),
    (FLOAT32_MAX, False, FLOAT32_MAX - 2.0**103, False),
]


@pytest.mark.parametrize(("tau", "strict", "point", "inclusive"), MIDPOINTS)
def test_midpoints_by_hand(tau, strict, point, inclusive):
    found = midpoints([tau], [strict])
    assert (found.points.tolist(), found.inclusive.tolist()) == ([point], [inclusive])


@pytest.mark.parametrize("strict", [False, True])
def test_never_and_always(strict):
    found = midpoints([-np.inf, np.inf], [strict, strict])
    assert found.points.tolist() == [-np.inf, np.inf]
    for shift in (-40, 0, 60, 200):
        boundaries = scale_boundaries(found.points[None], found.inclusive, np.array([shift]))
        assert boundaries.tolist() == [[-FAR, FAR]]


def test_midpoints_against_the_rounding_of_numpy():
    """Real numbers beside a threshold, on it and on midpoints, cast to float32 and compared."""
    random = np.random.default_rng(1)
    size = 2000
    tau = np.ldexp(random.uniform(-2, 2, size), random.integers(-148, 100, size))
    tau = np.where(random.random(size) < 0.7, tau.astype(np.float32).astype(float), tau)
    strict = random.random(size) < 0.5
    found = midpoints(tau, strict)
    ulp = np.spacing(np.abs(tau).astype(np.float32)).astype(float)
    offsets = (-1, -0.5, -0.25, 0, 0.25, 0.5, 1)
    for x in (*(tau + part * ulp for part in offsets), found.points):
        rounded = x.astype(np.float32).astype(float)
        reached = np.where(strict, rounded > tau, rounded >= tau)
        counted = np.where(found.inclusive, x >= found.points, x > found.points)
        np.testing.assert_array_equal(reached, counted)


def test_boundaries_against_fractions():
    random = np.random.default_rng(2)
    points = np.ldexp(
        random.integers(-(1 << 25), 1 << 25, 4000).astype(float), random.integers(-40, 10, 4000)
    )
    inclusive = random.random(4000) < 0.5
    for shift in (-30, -3, 0, 17, 35):
        found = scale_boundaries(points[None], inclusive, np.array([shift]))[0]
        for point, even, boundary in zip(points, inclusive, found.tolist(), strict=True):
            exact = Fraction(float(point)) * Fraction(2) ** shift
            wanted = math.ceil(exact) if even else math.floor(exact) + 1
            assert boundary == min(FAR, max(-FAR, wanted))


@pytest.mark.parametrize("exponent", [52, 53, 54, 60, 61])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_boundary_that_is_no_float64(exponent, sign):
    found = scale_boundaries(
        np.array([[float(sign)] * 2]), np.array([True, False]), np.array([exponent])
    )
    assert found.tolist() == [[sign << exponent, (sign << exponent) + 1]]


def test_vectors_of_a_block():
    """Worked out apart: weights of 1/15, inputs of 6/15, a clip of 2 in 15 steps, eps 1e-5."""
    norms = [(0.8, 0.1, 1.2, 4.0), (-0.5, 0.6, -2.0, 9.0)]
    factors = [gamma / math.sqrt(variance + 1e-5) for gamma, _, _, variance in norms]
    offset = [beta - mean * f for (_, beta, mean, _), f in zip(norms, factors, strict=True)]
    scaled = [f * 6 / 15 / 15 for f in factors]
    clip = find_thresholds(lambda x: torch.round(x.clamp(0, 2) / (2 / 15)), 16)
    node, sums = lower_block(scaled, offset, clip.tau.numpy(), clip.strict.numpy(), -400, 400)
    steps = find_steps(node, sums)
    assert steps.signs.tolist() == [1, -1]
    assert steps.thresholds.tolist() == [
        [42, 55, 67, 80, 92, 105, 117, 130, 142, 155, 167, 180, 192, 205, 217],
        [-45, -15, 15, 45, 76, 106, 136, 166, 196, 226, 256, 286, 316, 346, 376],
    ]
    codes = {0: {37: 0, 60: 2, 200: 13}, 1: {-150: 7, -100: 5, 0: 2, 37: 1, 60: 0}}
    for channel, pairs in codes.items():
        for accumulator, code in pairs.items():
            inputs = [np.full((1, 2), accumulator)]
            assert run_node(node, inputs, {})[0, channel] == code


@pytest.mark.parametrize("seed", range(6))
def test_random_blocks_against_fractions(seed):
    """The first accumulator of each code, found by bisection in exact arithmetic: 0 wrong."""
    random = np.random.default_rng(seed)
    channels, high = 24, int(random.integers(50, 40000))
    count = int(random.integers(1, 16))
    step = float(np.float32(random.uniform(0.01, 2)))
    factors = random.normal(0, 4 * step * count / high, channels)
    offset = random.normal(0.3 * count * step, count * step, channels)
    tau, strict = half_even(step, count)
    node, sums = lower_block(factors, offset, tau, strict, -high, high)
    steps = find_steps(node, sums)
    for channel in range(channels):
        sign = int(steps.signs[channel])
        for code in range(1, count + 1):
            low, end = -high, high + 1
            while low < end:
                middle = (low + end) // 2
                found = exact_code(factors[channel], offset[channel], sign * middle, tau, strict)
                low, end = (low, middle) if found >= code else (middle + 1, end)
            assert steps.thresholds[channel, code - 1] == low


@pytest.mark.parametrize("exponent", [-20, -7, -1, 0, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_ties_of_powers_of_two_go_to_the_even_code(exponent, sign):
    """x / step is k + 1/2 exactly for every odd accumulator."""
    step = 2.0**exponent
    node, sums = lower_block([sign * step / 2], [step], *half_even(step, 7), -40, 40)
    accumulators = np.arange(-40, 41)[:, None]
    codes = run_node(node, [accumulators], {})[:, 0]
    wanted = np.clip(np.rint(sign * accumulators[:, 0] / 2 + 1), 0, 7)
    np.testing.assert_array_equal(codes, wanted)
    steps = find_steps(node, sums)
    counted = (steps.signs[0] * accumulators >= steps.thresholds[0]).sum(1)
    np.testing.assert_array_equal(counted, wanted)


def test_a_tie_between_float32_numbers_beyond_53_bits():
    """0.5 + 2^-25 lies between two float32: the even one, 0.5, is not above 0.5."""
    node, _ = lower_block([2.0**-25], [0.0], [0.5], [True], 0, 1 << 25)
    sums = np.array([[(1 << 24) + more] for more in (-1, 0, 1, 2)])
    assert run_node(node, [sums], {})[:, 0].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("exponent", [-149, -140, -100, 100, 124])
def test_tiny_and_huge_factors(exponent):
    """Codes do not change where everything is scaled alike, to denormals or beyond int64."""
    step = 2.0**exponent
    node, _ = lower_block([step, -step], [step, 0], [step, 3 * step, 5 * step], [True] * 3, -9, 9)
    sums = np.repeat(np.arange(-9, 10)[:, None], 2, 1)
    value = np.stack([sums[:, 0] + 1, -sums[:, 0]], 1)
    wanted = (value[..., None] > np.array([1, 3, 5])).sum(-1)
    np.testing.assert_array_equal(run_node(node, [sums], {}), wanted)


def test_steps_of_a_constant_channel():
    """A multiplier of 0: every boundary is reached by all accumulators or by none."""
    node, sums = lower_block([0.0, 0.0], [0.25, -1.0], [0.0, 0.25, 0.5], [False] * 3, -5, 9)
    steps = find_steps(node, sums)
    assert steps.thresholds.tolist() == [[-5, -5, 10], [10, 10, 10]]
    assert run_node(node, [np.array([[-5, -5], [9, 9]])], {}).tolist() == [[2, 0], [2, 0]]
