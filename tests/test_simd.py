"""Every vector operation against NumPy, or against exact fractions, through kernels of a line."""

import math
import sys
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from helpers import FLOATS, run_python, same_bits
from numba import njit

from fastsoftmax import simd

# How the four storage types lie in memory, and what they are.
STORED = {
    "float32": (np.float32, np.float32),
    "float64": (np.float64, np.float64),
    "float16": (np.uint16, np.float16),
    "bfloat16": (np.int16, ml_dtypes.bfloat16),
}
LANES = {"float32": 16, "float64": 8, "float16": 16, "bfloat16": 16}
HALVES = ("float16", "bfloat16")

compiled = njit(error_model="numpy")
part = njit(error_model="numpy", forceinline=True)


def specials(dtype):
    info = np.finfo(dtype)
    positive = [0, info.smallest_subnormal, info.tiny, 1e-30, 0.1, 0.5, 1, 1 + info.eps, 3, 1e30, info.max, np.inf]
    return np.array([*positive, *np.negative(positive), np.nan], dtype)


def pairs(dtype):
    """All pairs of special values, and random ones up to whole vectors."""
    a, b = (v.ravel() for v in np.meshgrid(specials(dtype), specials(dtype)))
    rng = np.random.default_rng(1)
    more = 16 - a.size % 16 + 160
    a, b = (np.append(v, rng.normal(0, 3, more) * 10 ** rng.uniform(-9, 9, more)) for v in (a, b))
    return a.astype(dtype), b.astype(dtype)


def bits_of(values, name):
    """`values` in a storage type, as a kernel takes them."""
    kept, real = STORED[name]
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values).astype(real).view(kept)


def read(stored, name):
    """What stored bits are worth, as float64."""
    return stored.view(STORED[name][1]).astype(np.float64)


# -- lane by lane -------------------------------------------------------------------------------------------


def mapped(function):
    """A kernel that applies a function of two vectors to whole arrays."""
    inner = part(function)

    @compiled
    def run(a, b, out):
        for i in range(0, out.size, simd.lanes(out)):
            simd.store(out, i, inner(simd.load(a, i), simd.load(b, i)))

    return run


ARITHMETIC = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "scalar +": lambda a, b: 1.7 + a,
    "- scalar": lambda a, b: a - 1.7,
    "scalar -": lambda a, b: 1.7 - a,
    "* scalar": lambda a, b: a * 1.7,
    "scalar /": lambda a, b: 1.7 / a,
    "/ int": lambda a, b: a / 3,
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic(name, dtype):
    a, b = pairs(dtype)
    out = np.empty_like(a)
    mapped(ARITHMETIC[name])(a, b, out)
    with np.errstate(all="ignore"):
        same_bits(out, np.asarray(ARITHMETIC[name](a, b), dtype))


COMPARISONS = {
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "< scalar": lambda a, b: a < 0.5,
    "scalar >=": lambda a, b: 0.5 >= a,  # noqa: SIM300
    "== inf": lambda a, b: a == np.inf,
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_select_and_count(name, dtype):
    compare = part(COMPARISONS[name])

    @compiled
    def run(a, b, out, counts):
        for i in range(0, out.size, simd.lanes(out)):
            mask = compare(simd.load(a, i), simd.load(b, i))
            simd.store(out, i, simd.select(mask, simd.load(b, i), -7.0))
            counts[i // simd.lanes(out)] = simd.count_set(mask)

    a, b = pairs(dtype)
    width = LANES[np.dtype(dtype).name]
    out, counts = np.empty_like(a), np.empty(a.size // width, np.int64)
    run(a, b, out, counts)
    mask = COMPARISONS[name](a, b)
    same_bits(out, np.where(mask, b, dtype(-7)))
    np.testing.assert_array_equal(counts, mask.reshape(-1, width).sum(axis=1))


def _larger_bits(a, b):
    unsigned = f"u{a.dtype.itemsize}"
    return np.where(a.view(unsigned) > b.view(unsigned), a, b)


CHOICES = {
    "larger": (lambda a, b: simd.larger(a, b), lambda a, b: np.where(a > b, a, b)),
    "smaller": (lambda a, b: simd.smaller(a, b), lambda a, b: np.where(a < b, a, b)),
    "larger than a scalar": (lambda a, b: simd.larger(0.25, a), lambda a, b: np.where(a < 0.25, a.dtype.type(0.25), a)),
    "absolute": (lambda a, b: simd.absolute(a), lambda a, b: np.abs(a)),
    "larger_bits": (lambda a, b: simd.larger_bits(a, b), _larger_bits),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", CHOICES)
def test_choices_between_lanes(name, dtype):
    ours, theirs = CHOICES[name]
    a, b = pairs(dtype)
    out = np.empty_like(a)
    mapped(ours)(a, b, out)
    same_bits(out, theirs(a, b))


@pytest.mark.parametrize("dtype", FLOATS)
def test_larger_bits_orders_positive_numbers_and_lets_any_nan_win(dtype):
    a = np.array([1, 2, 0, np.inf, np.nan, -np.nan, 1, -np.nan] * 2, dtype)
    b = np.array([2, 1, 5, 3, 7, np.inf, np.nan, np.nan] * 2, dtype)
    out = np.empty_like(a)
    mapped(lambda a, b: simd.larger_bits(a, b))(a, b, out)
    np.testing.assert_array_equal(out, [2, 2, 5, np.inf, *[np.nan] * 4] * 2)


def fraction(v):
    return Fraction(float(v))


def is_nearest(got, exact):
    """Whether no neighbour of a finite float is nearer."""
    return all(
        abs(fraction(got) - exact) <= abs(fraction(np.nextafter(got, got.dtype.type(to))) - exact)
        for to in (-np.inf, np.inf)
    )


@pytest.mark.parametrize("dtype", FLOATS)
def test_fma_rounds_once(dtype):
    @compiled
    def run(a, b, c, out):
        for i in range(0, out.size, simd.lanes(out)):
            simd.store(out, i, simd.fma(simd.load(a, i), simd.load(b, i), simd.load(c, i)))

    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (2, 320)).astype(dtype)
    c = -a * b * (1 + rng.choice([0, 0, 1e-7, 0.1, 3], 320)).astype(dtype)  # the product cancels, or nearly
    small = dtype(2.0 ** -(np.finfo(dtype).nmant // 2 + 1))
    a[0], b[0], c[0] = 1 + small, 1 - small, -1
    out = np.empty_like(a)
    run(a, b, c, out)
    assert out[0] == -(small**2)
    for p, q, r, got in zip(a, b, c, out, strict=True):
        assert is_nearest(got, fraction(p) * fraction(q) + fraction(r))


@pytest.mark.parametrize("dtype", FLOATS)
def test_fma_of_scalars_and_of_mixtures(dtype):
    @compiled
    def run(a, b, c, out):
        for i in range(a.size):
            out[i] = simd.fma(a[i], b[i], c[i])
        simd.store(out, 16, simd.fma(simd.load(a, 0), -1.0, 5))
        simd.store(out, 32, simd.fma(3.0, simd.load(a, 0), simd.load(b, 0)))

    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (2, 16)).astype(dtype)
    c = -(a * b)
    out = np.empty(48, dtype)
    run(a, b, c, out)
    for p, q, r, got in zip(a, b, c, out, strict=False):
        assert is_nearest(got, fraction(p) * fraction(q) + fraction(r))
    width = LANES[np.dtype(dtype).name]
    np.testing.assert_array_equal(out[16 : 16 + width], 5 - a[:width])
    np.testing.assert_allclose(out[32 : 32 + width], 3 * a[:width] + b[:width], rtol=1e-6, atol=1e-6)


# -- constants ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STORED)
def test_what_depends_on_the_type(name):
    @compiled
    def run(x, out):
        out[0] = simd.lanes(x)
        out[1] = simd.choose(x, 1, 2.5)
        out[2] = simd.rounded(x, 0.1)
        simd.store(out, 8, simd.splat_wide(0.1))

    @compiled
    def splat(x, out):
        simd.store(out, 0, simd.splat(x, 0.1))

    x, out = bits_of(np.zeros(16), name), np.zeros(16)
    run(x, out)
    double = name == "float64"
    number = np.float64(0.1) if double else np.float64(np.float32(0.1))
    np.testing.assert_array_equal(out[:3], [LANES[name], 2.5 if double else 1, number])
    np.testing.assert_array_equal(out[8:], 0.1)
    wide = np.zeros(16, np.float64 if double else np.float32)
    splat(x, wide)
    np.testing.assert_array_equal(wide[: LANES[name]], wide.dtype.type(0.1))


# -- bits of a float ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
def test_shift_exponent_multiplies_by_powers_of_two(dtype):
    info = np.finfo(dtype)
    value, n = np.meshgrid(np.array([1, 1.25, -0.7, 1.9999], dtype), np.arange(info.minexp + 2, info.maxexp - 1, 2))
    value, n = value.ravel()[:-8], n.ravel()[:-8]
    value, n = value[: value.size // 16 * 16], n[: n.size // 16 * 16]
    steps = (1.5 * 2**info.nmant + n).astype(dtype)  # the integer in the low bits of the mantissa
    out = np.empty_like(value)
    mapped(lambda a, b: simd.shift_exponent(a, b))(value, steps, out)
    same_bits(out, np.ldexp(value, n))


def test_ldexp_small():
    @compiled
    def run(values, n, out):
        for i in range(out.size):
            out[i] = simd.ldexp_small(values[i], n[i])

    n = np.arange(-1022.0, 1024)
    values = np.resize([1.0, -0.3, 1.5, 2.0**40, -(2.0**-40), 0.0], n.size)
    out = np.empty_like(n)
    run(values, n, out)
    with np.errstate(over="ignore", under="ignore"):
        same_bits(out, values * 2.0**n)


@pytest.mark.parametrize("vector", [False, True])
def test_split_exponent(vector):
    @compiled
    def lane_by_lane(x, m, n):
        for i in range(0, x.size, 8):
            a, b = simd.split_exponent(simd.load(x, i))
            simd.store(m, i, a)
            simd.store(n, i, b)

    @compiled
    def one_by_one(x, m, n):
        for i in range(x.size):
            m[i], n[i] = simd.split_exponent(x[i])

    border = np.nextafter(math.sqrt(0.5), [0, 0.6, 1])
    mantissas = np.append(border, [0.5, 0.51, 0.75, 0.999, 1.0, 1.2])
    x = (mantissas[:, None] * 2.0 ** np.array([-1020, -500, -31, -1, 0, 1, 17, 1000])).ravel()
    m, n = np.empty_like(x), np.empty_like(x)
    (lane_by_lane if vector else one_by_one)(x, m, n)
    np.testing.assert_array_equal(np.ldexp(m, n.astype(int)), x)
    assert (m >= np.sqrt(0.5) * (1 - 2**-53)).all()
    assert (m < np.sqrt(2)).all()


# -- across the lanes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_largest_lane(dtype):
    @compiled
    def run(x, out):
        for i in range(out.shape[0]):
            v = simd.load(x, i * simd.lanes(x))
            out[i, 0] = simd.largest(v)
            out[i, 1] = simd.largest_bits(v)

    width = LANES[np.dtype(dtype).name]
    rows = np.random.default_rng(0).normal(0, 9, (width + 4, width)).astype(dtype)
    for r in range(width):
        rows[r, r] = 100
    rows[-4] = -np.inf
    rows[-3] = -np.abs(rows[-3])
    rows[-2, 3] = np.nan
    rows[-1] = np.nan
    out = np.empty((len(rows), 2), dtype)
    run(rows.ravel(), out)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(out[:, 0], [*np.nanmax(rows[:-1], axis=1), np.nan])
    unsigned = f"u{rows.itemsize}"
    same_bits(out[:, 1], rows.view(unsigned).max(axis=1).view(dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_sum_lanes_has_two_parts(dtype):
    @compiled
    def run(x, y, out):
        for i in range(out.shape[0]):
            at = i * simd.lanes(x)
            out[i, 0], out[i, 1] = simd.sum_lanes(simd.load(x, at), simd.load(y, at))

    width = LANES[np.dtype(dtype).name]
    rng = np.random.default_rng(3)
    x = (rng.random((200, width)) * 10 ** rng.uniform(-8, 8, (200, width))).astype(dtype)
    x[100:150] = rng.normal(0, 1, (50, width))
    y = (x * rng.normal(0, 1, x.shape) * np.finfo(dtype).eps).astype(dtype)
    out = np.empty((200, 2))
    run(x.ravel(), y.ravel(), out)
    for row, lost, (total, rest) in zip(x, y, out, strict=True):
        exact = sum(map(fraction, [*row, *lost]))
        size = fraction(np.abs(row).sum(dtype=np.float64))
        if dtype is np.float32:
            assert rest == 0
            assert abs(fraction(total) - exact) <= 5 * Fraction(2) ** -53 * size
        else:
            assert abs(fraction(total) + fraction(rest) - exact) <= Fraction(2) ** -98 * size
            assert abs(rest) <= 2.0**-50 * float(size)


@pytest.mark.parametrize("dtype", FLOATS)
def test_keep_first_and_keep_last(dtype):
    @compiled
    def run(x, out, count):
        width = simd.lanes(x)
        simd.store(out, 0, simd.keep_first(simd.load(x, 0), count))
        simd.store(out, width, simd.keep_last(simd.load(x, 0), count))

    width = LANES[np.dtype(dtype).name]
    x = np.arange(1, width + 1).astype(dtype)
    x[2], x[5] = np.nan, np.inf
    for count in range(width + 1):
        out = np.full(2 * width, 7, dtype)
        run(x, out, count)
        same_bits(out[:width], np.where(np.arange(width) < count, x, dtype(0)))
        same_bits(out[width:], np.where(np.arange(width) >= width - count, x, dtype(0)))


# -- memory -------------------------------------------------------------------------------------------------


@compiled
def copy_vector(x, i, out, j):
    simd.store(out, j, simd.load(x, i))


@compiled
def copy_wide(x, i, out, j):
    simd.store(out, j, simd.load_wide(x, i))


@compiled
def load_some(x, i, count, out):
    simd.store(out, 0, simd.load_first(x, i, count))


@compiled
def load_some_wide(x, i, count, out):
    simd.store(out, 0, simd.load_first_wide(x, i, count))


@compiled
def store_some(x, out, j, count):
    simd.store_first(out, j, simd.load(x, 0), count)


@compiled
def store_some_wide(x, out, j, count):
    simd.store_first(out, j, simd.load_wide(x, 0), count)


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("wide", [False, True])
def test_load_and_store_at_any_offset_touch_their_lanes_only(name, wide):
    width = 8 if wide else LANES[name]
    x = bits_of(np.arange(1, 60), name)
    for i, j in ((0, 0), (1, 5), (7, 13), (20, 40 - width)):
        out = bits_of(np.full(40, -3), name)
        (copy_wide if wide else copy_vector)(x, i, out, j)
        expected = np.full(40, -3.0)
        expected[j : j + width] = np.arange(1, 60)[i : i + width]
        np.testing.assert_array_equal(read(out, name), expected)


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("wide", [False, True])
def test_load_first_fills_with_minus_infinity(name, wide):
    width = 8 if wide else LANES[name]
    x = bits_of(np.arange(1, 40), name)
    for count in range(width + 1):
        out = np.zeros(16, np.float64 if wide or name == "float64" else np.float32)
        (load_some_wide if wide else load_some)(x, 3, count, out)
        expected = np.append(np.arange(4, 4 + count), np.full(width - count, -np.inf))
        np.testing.assert_array_equal(out[:width], expected)


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("wide", [False, True])
def test_store_first_writes_nothing_beyond(name, wide):
    width = 8 if wide else LANES[name]
    x = np.arange(1, 17).astype(np.float64 if wide or name == "float64" else np.float32)
    for count in range(width + 1):
        out = bits_of(np.full(40, -3), name)
        (store_some_wide if wide else store_some)(x, out, 5, count)
        expected = np.full(40, -3.0)
        expected[5 : 5 + count] = x[:count]
        np.testing.assert_array_equal(read(out, name), expected)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mprotect")
def test_nothing_behind_an_array_is_read_or_written():
    # each array ends where a page begins that must not be touched; a touch ends the process
    run_python("""if True:
        import ctypes, mmap
        import numpy as np
        from numba import njit
        from fastsoftmax.simd import lanes, load_block, load_first, load_first_wide, store, store_block, store_first

        page = mmap.PAGESIZE
        memory = mmap.mmap(-1, 2 * page)
        address = np.frombuffer(memory, np.uint8).ctypes.data
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        assert protect(ctypes.c_void_p(address + page), ctypes.c_size_t(page), 0) == 0

        @njit
        def some(x, count, tile):
            store(tile, 0, load_first(x, x.size - count, count))
            store_first(x, x.size - count, load_first(x, x.size - count, count), count)

        @njit
        def wide(x, count, tile):
            store_first(x, x.size - count, load_first_wide(x, x.size - count, count), count)

        @njit
        def block(x, rows, count, tile):
            load_block(x, x.size - rows * count, count, rows, count, tile, 0)
            store_block(tile, 0, x, x.size - rows * count, count, rows, count)

        for dtype in (np.float32, np.float64, np.uint16, np.int16):
            x = np.frombuffer(memory, dtype, page // np.dtype(dtype).itemsize)
            tile = np.zeros(16 * 16, np.float64 if dtype == np.float64 else np.float32)
            width = 8 if dtype == np.float64 else 16
            for count in range(width + 1):
                some(x, count, tile)
                if count <= 8:
                    wide(x, count, tile)
                for rows in (1, 2, width):
                    block(x, rows, count, tile)
    """)


# -- halves -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HALVES)
def test_every_half_is_widened_exactly(name):
    @compiled
    def widen(x, out):
        for i in range(0, x.size, simd.lanes(x)):
            simd.store(out, i, simd.load(x, i))

    stored = np.arange(65536, dtype=np.uint16).view(STORED[name][0])
    out = np.empty(65536, np.float32)
    widen(stored, out)
    same_bits(out, stored.view(STORED[name][1]).astype(np.float32))


@pytest.mark.parametrize("name", HALVES)
def test_singles_are_rounded_to_the_nearest_half_ties_to_even(name):
    @compiled
    def narrow(x, out):
        for i in range(0, x.size, simd.lanes(x)):
            simd.store(out, i, simd.load(x, i))

    kept, real = STORED[name]
    every = np.arange(65536, dtype=np.uint16).view(real).astype(np.float32)
    finite = np.sort(every[np.isfinite(every)])
    ties = ((finite[1:].astype(np.float64) + finite[:-1]) / 2).astype(np.float32)
    top = np.float32(finite[-1])
    beyond = top + (top - finite[-2]) / 2 if name == "float16" else np.float32(np.inf)  # ties with the next power
    x = np.concatenate([
        every, ties, np.nextafter(ties, np.float32(np.inf)), np.nextafter(ties, np.float32(-np.inf)),
        specials(np.float32), [beyond, -beyond, np.nextafter(np.float32(beyond), np.float32(0))],
        np.random.default_rng(0).integers(0, 2**32, 100_000, np.uint32).view(np.float32),
    ]).astype(np.float32)  # fmt: skip
    x = x[: x.size // 16 * 16]
    out = np.empty(x.size, kept)
    narrow(x, out)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        expected = x.astype(real)
    got = out.view(real)
    np.testing.assert_array_equal(got.astype(np.float32), expected.astype(np.float32))
    kept_sign = ~np.isnan(x)
    np.testing.assert_array_equal(np.signbit(got)[kept_sign], np.signbit(x)[kept_sign])


# -- blocks of rows -----------------------------------------------------------------------------------------


@compiled
def to_columns(x, start, step, rows, count, tile, at):
    simd.load_block(x, start, step, rows, count, tile, at)


@compiled
def to_rows(tile, at, out, start, step, rows, count):
    simd.store_block(tile, at, out, start, step, rows, count)


@pytest.mark.parametrize("name", STORED)
def test_blocks_are_transposed_and_back(name):
    width, at, start, step = LANES[name], 5, 7, 19
    values = np.arange(1.0, start + step * width + 9) % 199  # exact in every type
    x = bits_of(values, name)
    for rows in range(1, width + 1):
        for count in range(width + 1):
            tile = np.full(at + width * width + 6, -3, np.float64 if name == "float64" else np.float32)
            to_columns(x, start, step, rows, count, tile, at)
            r = np.minimum(np.arange(width), rows - 1)  # rows missing repeat the last
            expected = values[start + r * step + np.arange(width)[:, None]]
            expected[count:] = -np.inf
            np.testing.assert_array_equal(tile[at : at + width * width], expected.ravel())
            assert (tile[:at] == -3).all()
            assert (tile[at + width * width :] == -3).all()

            out = bits_of(np.full(values.size, -3), name)
            to_rows(tile, at, out, start, step, rows, count)
            back = np.full(values.size, -3.0)
            for row in range(rows):
                first = start + row * step
                back[first : first + count] = values[first : first + count]
            np.testing.assert_array_equal(read(out, name), back)
