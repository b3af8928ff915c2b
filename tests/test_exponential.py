"""e^x, and the two parts that sums are made of, against exact values."""

import math
import platform

import mpmath
import numpy as np
import pytest
from helpers import run_python
from numba import njit

from fastsoftmax.kernels.exponential import UNITS, exponential, log2e_over, magic_number
from fastsoftmax.kernels.extended import exp2_in_parts
from fastsoftmax.simd import NODES, WIDE, lanes, load, splat, store
from fastsoftmax.simd.vector import VECTOR_BITS

LOWEST, HIGHEST = -100, 127.4  # 2 to these powers; below, the small part is no normal number
BOUND, BITS_OF_PARTS, SMALL = {16: (0.6, 26.5, 0.03), 8: (0.63, 26.3, 0.05)}[NODES[32]]  # by the nodes of float32


@njit(error_model="numpy")
def evaluate(x, pivot, temperature, e_out, large_out, small_out):
    high, low = log2e_over(x, temperature)
    magic = splat(x, magic_number(x, pivot))
    high, low = splat(x, high), splat(x, low)
    for i in range(0, x.size, lanes(x)):
        e, large, small, _ = exponential(load(x, i), high, low, magic)
        store(e_out, i, e)
        store(large_out, i, large)
        store(small_out, i, small)


def evaluated(x, pivot=0.0, temperature=1.0):
    parts = [np.empty_like(x) for _ in range(3)]
    evaluate(x, pivot, temperature, *parts)
    return parts


def floats(low, high, stride):
    """Yield float32 numbers from low to high, one in `stride`, and whole vectors of them."""
    for sign, first, last in ((0, max(low, 0), high), (1 << 31, max(-high, 0), -low)):
        begin, end = (int(np.float32(max(v, 2.0**-30)).view(np.uint32)) for v in (first, last))
        for chunk in range(begin, end, 2**16 * stride):
            bits = np.arange(chunk, min(chunk + 2**16 * stride, end), stride, dtype=np.uint32)
            yield (bits[: bits.size // 16 * 16] | np.uint32(sign)).view(np.float32)


@pytest.mark.parametrize("pivot", [0, 37, -1000, 2**16])
def test_float32_at_one_float_in_many(pivot):
    stride = 31 if abs(pivot) < 100 else 1  # then there are few
    tried = 0
    for x in floats((pivot + LOWEST) * math.log(2), (pivot + HIGHEST) * math.log(2), stride):
        tried += x.size
        e, large, small = evaluated(x, float(pivot))
        true = np.exp(np.longdouble(x) - pivot * np.log(np.longdouble(2)))
        below = np.exp2(np.floor(np.log2(true)))
        assert (np.abs(e - true) <= BOUND * 2.0**-23 * below).all()
        assert (np.abs(large + np.longdouble(small) - true) <= 2.0**-BITS_OF_PARTS * true).all()
        assert (np.abs(small) <= SMALL * large).all()
    assert tried > 30_000


def test_float64_at_random_numbers():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.uniform(-600, 700, 2000), rng.standard_normal(2000), rng.uniform(-1e-8, 1e-8, 96)])
    e, large, small = evaluated(x)
    with mpmath.workdps(40):
        for value, got, a, b in zip(x.tolist(), e.tolist(), large.tolist(), small.tolist(), strict=True):
            true = UNITS[64] * mpmath.exp(value)
            assert abs(got - true) <= 0.6 * math.ulp(2.0 ** math.floor(mpmath.log(true, 2)))
            assert abs(mpmath.mpf(a) + b - true) <= mpmath.mpf(2) ** -55 * true
            assert abs(b) <= 0.05 * a


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [0.37, 3.0, 1e-3])
def test_temperature_is_part_of_the_arithmetic(dtype, temperature):
    x = (np.random.default_rng(2).uniform(-60, 60, 1024) * temperature).astype(dtype)
    e, _, _ = evaluated(x, 0.0, temperature)
    with mpmath.workdps(40):
        for value, got in zip(x.tolist(), e.tolist(), strict=True):
            true = UNITS[8 * x.itemsize] * mpmath.exp(mpmath.mpf(value) / temperature)
            bound = BOUND if dtype == np.float32 else 0.6
            assert abs(got - true) <= bound * float(np.spacing(dtype(2.0 ** math.floor(mpmath.log(true, 2)))))


def test_large_parts_of_float32_are_short():
    # so that sums of them are mostly exact
    _, large, _ = evaluated(np.linspace(-40, 40, 4096).astype(np.float32))
    mantissa, _ = np.frexp(large.astype(np.float64))
    assert (mantissa * 2**8 == np.rint(mantissa * 2**8)).all()


BITS = """
import numpy as np
from fastsoftmax import log_softmax, logsumexp, softmax
x = np.linspace(-30, 20, 6000).reshape(4, 1500)
for dtype in "f4", "f8":
    for f in softmax, log_softmax, logsumexp:
        print(f(x.astype(dtype), 1).tobytes().hex())
"""


NARROWER = [("haswell", "+avx2,+fma,+f16c"), ("sandybridge", "+avx,+fma")]  # than AVX-512


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 processors")
def test_processors_with_vectors_of_one_width_compute_the_same_bits(tmp_path):
    results = []
    for processor in [*NARROWER, *([None] if VECTOR_BITS == 256 else [])]:
        env = {}
        if processor:
            env = dict(zip(("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"), processor, strict=True))
            env["FASTSOFTMAX_CACHE_DIR"] = str(tmp_path / "cache")
        results.append(run_python(BITS, env=env))
    assert len(results[0]) > 100_000
    assert len(set(results)) == 1


@njit(error_model="numpy")
def evaluate_in_parts(f, f_low, total, rest):
    for i in range(0, f.size, WIDE):
        a, b = exp2_in_parts(load(f, i), load(f_low, i))
        store(total, i, a)
        store(rest, i, b)


def test_powers_of_two_in_parts_are_good_to_65_bits(rng):
    seams = (np.arange(-8, 9) / 16)[:, None] + np.array([-(2.0**-54), 0, 2.0**-54])
    f = np.concatenate([np.clip(seams, -0.5, 0.5).ravel(), rng.uniform(-0.5, 0.5, 2000), rng.uniform(-1, 1, 5) * 1e-9])
    f_low = np.spacing(f) * rng.uniform(-0.5, 0.5, f.size)
    total, rest = np.empty_like(f), np.empty_like(f)
    evaluate_in_parts(f, f_low, total, rest)
    with mpmath.workdps(40):
        for a, b, high, low in zip(*(v.tolist() for v in (total, rest, f, f_low)), strict=True):
            true = mpmath.mpf(2) ** (mpmath.mpf(high) + low)
            assert abs((mpmath.mpf(a) + b) / true - 1) <= 2.0**-65
            assert a == a + b
