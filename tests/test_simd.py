"""Every vector operation against NumPy, or against exact fractions, through kernels of a line."""

import math
import sys
from fractions import Fraction

import llvmlite.binding
import ml_dtypes
import numpy as np
import pytest
from helpers import FLOATS, run_python, same_bits
from numba import njit, types
from numba.core.registry import cpu_target

from fastsoftmax import simd
from fastsoftmax.simd import WIDE

# How the four storage types lie in memory, and what they are.
STORED = {
    "float32": (np.float32, np.float32),
    "float64": (np.float64, np.float64),
    "float16": (np.uint16, np.float16),
    "bfloat16": (np.int16, ml_dtypes.bfloat16),
}
LANES = {name: WIDE if name == "float64" else 2 * WIDE for name in STORED}
HALVES = ("float16", "bfloat16")
SIZES = ("vector", "group")

compiled = njit(error_model="numpy")
part = njit(error_model="numpy", forceinline=True)


def specials(dtype):
    info = np.finfo(dtype)
    positive = [0, info.smallest_subnormal, info.tiny, 1e-30, 0.1, 0.5, 1, 1 + info.eps, 3, 1e30, info.max, np.inf]
    return np.array([*positive, *np.negative(positive), np.nan], dtype)


def pairs(dtype):
    """All pairs of special values, and random ones up to whole groups."""
    a, b = (v.ravel() for v in np.meshgrid(specials(dtype), specials(dtype)))
    rng = np.random.default_rng(1)
    more = 64 - a.size % 64 + 128
    a, b = (np.append(v, rng.normal(0, 3, more) * 10 ** rng.uniform(-9, 9, more)) for v in (a, b))
    return a.astype(dtype), b.astype(dtype)


def lanes_of(size, name):
    """The lanes of a vector, a group, two vectors or a wide vector for a storage type."""
    return {"vector": LANES[name], "two": 2 * LANES[name], "group": 4 * LANES[name], "wide": WIDE}[size]


def computed(name):
    """The type that a storage type is computed in."""
    return np.dtype(np.float64 if name == "float64" else np.float32)


def any_bits(rng, count, dtype):
    """Floats of random bits."""
    dtype = np.dtype(dtype)
    return rng.integers(0, 256, count * dtype.itemsize, np.uint8).view(dtype)


def bits_of(values, name):
    """`values` in a storage type, as a kernel takes them."""
    kept, real = STORED[name]
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values).astype(real).view(kept)


def read(stored, name):
    """What stored bits are worth, as float64."""
    return stored.view(STORED[name][1]).astype(np.float64)


# -- lane by lane -------------------------------------------------------------------------------------------


LOADS = {"vector": simd.load, "two": simd.load_two, "group": simd.load_group, "wide": simd.load_wide}


def mapped(function, size="vector"):
    """A kernel that applies a function of two vectors, or groups, to whole arrays."""
    inner, load, count = part(function), LOADS[size], {"vector": 1, "group": 4}[size]

    @compiled
    def run(a, b, out):
        for i in range(0, out.size, count * simd.lanes(out)):
            simd.store(out, i, inner(load(a, i), load(b, i)))

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
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic(name, size, dtype):
    a, b = pairs(dtype)
    out = np.empty_like(a)
    mapped(ARITHMETIC[name], size)(a, b, out)
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
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_and_select(name, size, dtype):
    compare = part(COMPARISONS[name])
    a, b = pairs(dtype)
    out = np.empty_like(a)
    mapped(lambda a, b: simd.select(compare(a, b), a, b), size)(a, b, out)
    same_bits(out, np.where(COMPARISONS[name](a, b), a, b))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", SIZES)
def test_select_takes_scalars(size, dtype):
    a, b = pairs(dtype)
    out = np.empty_like(a)
    mapped(lambda a, b: simd.select(a < b, b, -7.0), size)(a, b, out)
    same_bits(out, np.where(a < b, b, dtype(-7)))
    mapped(lambda a, b: simd.select(a < b, 3, b), size)(a, b, out)
    same_bits(out, np.where(a < b, dtype(3), b))


CHOICES = {
    "larger": (lambda a, b: simd.larger(a, b), lambda a, b: np.where(a > b, a, b)),
    "smaller": (lambda a, b: simd.smaller(a, b), lambda a, b: np.where(a < b, a, b)),
    "larger than a scalar": (lambda a, b: simd.larger(0.25, a), lambda a, b: np.where(a < 0.25, a.dtype.type(0.25), a)),
    "absolute": (lambda a, b: simd.absolute(a), lambda a, b: np.abs(a)),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CHOICES)
def test_choices_between_lanes(name, size, dtype):
    ours, theirs = CHOICES[name]
    a, b = pairs(dtype)
    out = np.empty_like(a)
    mapped(ours, size)(a, b, out)
    same_bits(out, theirs(a, b))


def fraction(v):
    return Fraction(float(v))


def is_nearest(got, exact):
    """Whether no neighbour of a finite float is nearer."""
    return all(
        abs(fraction(got) - exact) <= abs(fraction(np.nextafter(got, got.dtype.type(to))) - exact)
        for to in (-np.inf, np.inf)
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", SIZES)
def test_fma_rounds_once(size, dtype):
    load, width = LOADS[size], lanes_of(size, np.dtype(dtype).name)

    @compiled
    def run(a, b, c, out):
        for i in range(0, out.size, width):
            simd.store(out, i, simd.fma(load(a, i), load(b, i), load(c, i)))

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


@pytest.mark.parametrize("name", STORED)
def test_widened(name):
    @compiled
    def run(x, out):
        simd.store(out, 0, simd.widened(simd.load(x, 0)))

    x = bits_of(np.resize(specials(computed(name)), 2 * LANES[name]), name)
    for i in (0, LANES[name]):
        out = np.zeros(LANES[name])
        run(x[i:], out)
        same_bits(out, read(x, name)[i : i + LANES[name]])


@pytest.mark.parametrize("name", STORED)
def test_narrowed_rounds_to_the_type_of_the_array(name):
    load = simd.load if name == "float64" else simd.load_two  # as many lanes as a vector of the array

    @compiled
    def run(x, wide, out):
        for i in range(0, wide.size, simd.lanes(x)):
            simd.store(out, i, simd.narrowed(x, load(wide, i)))

    single = np.float64(np.float32(0.1))
    ties = (single + np.nextafter(np.float32(0.1), np.float32(1))) / 2 + 2.0**-40 * np.arange(-1, 2)
    rng = np.random.default_rng(5)
    wide = np.concatenate([ties, specials(np.float32), specials(np.float64), rng.normal(0, 1, 200)])
    wide = wide[: wide.size // 16 * 16]
    out = np.empty(wide.size, computed(name))
    run(bits_of(np.zeros(16), name), wide, out)
    with np.errstate(all="ignore"):
        same_bits(out, wide.astype(out.dtype))


# -- constants ----------------------------------------------------------------------------------------------


FORMS = {"array": part(lambda x: x), "pointer": simd.pointer_to}


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("kind", FORMS)
def test_what_depends_on_the_type(kind, name):
    form, number = FORMS[kind], simd.constant(3, 4.5)

    @compiled
    def run(x, out, wide):
        x = form(x)
        wide[0] = simd.lanes(x)
        wide[1] = simd.choose(x, 1, 2.5)
        wide[2] = number(x)
        wide[3] = simd.rounded(x, 0.1)
        wide[4] = simd.rounded(x, 1e300)
        simd.store(wide, 5, simd.splat_wide(0.1))
        simd.store(out, 0, simd.splat(x, 0.1))
        simd.store(out, simd.lanes(x), simd.splat_group(x, -3))
        simd.store(out, 5 * simd.lanes(x), simd.lane_numbers(x))

    wide, out = np.zeros(5 + WIDE), np.zeros(7 * LANES[name], computed(name))
    run(bits_of(np.zeros(16), name), out, wide)
    tenth = np.float64(computed(name).type(0.1))
    expected = [2.5, 4.5, tenth, 1e300] if name == "float64" else [1, 3, tenth, np.inf]
    np.testing.assert_array_equal(wide, [LANES[name], *expected, *[0.1] * WIDE])
    numbers, rest = np.arange(LANES[name]), np.zeros(LANES[name])
    repeated = np.repeat([tenth, -3], np.multiply(LANES[name], [1, 4]))
    np.testing.assert_array_equal(out, np.concatenate([repeated, numbers, rest]))


def test_the_type_of_vectors():
    assert (8 if "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2] else 4) == WIDE
    for stored, compute, lanes in (
        (types.float32, types.float32, 2 * WIDE),
        (types.float64, types.float64, WIDE),
        (types.uint16, types.float32, 2 * WIDE),
        (types.int16, types.float32, 2 * WIDE),
    ):
        for array in (types.Array(stored, 1, "C"), types.CPointer(stored)):
            assert simd.vector_of(array) == simd.Vector(compute, lanes)


# -- polynomials and room -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
def test_polynomials_have_coefficients_for_each_type(dtype):
    polynomial = simd.polynomial((1.0, -2.0, 0.0, 3.0), (5.0, 7.0))
    x = np.arange(-20, 44, dtype=dtype)
    out = np.empty_like(x)
    mapped(lambda a, b: polynomial(a))(x, x, out)
    same_bits(out, 5 + 7 * x if dtype == np.float32 else 1 - 2 * x + 3 * x**3)


def test_polynomials_of_numbers_round_once_a_step():
    polynomial = simd.polynomial((1.0, 1.0, 1 / 3))
    run = compiled(lambda x: polynomial(x))
    for x in (0.1, -3.7, 1e-9, 12345.678):
        inner = float(Fraction(1 / 3) * Fraction(x) + 1)
        assert run(x) == float(Fraction(inner) * Fraction(x) + 1)


@pytest.mark.parametrize("name", STORED)
def test_room_has_the_type_that_is_computed_in_or_that_of_the_elements(name):
    @compiled
    def make(x, n):
        return simd.empty(x, n), simd.empty_like(x, n), simd.empty_wide(n)

    stored, _ = STORED[name]
    for n in (0, 1, 1000):
        rooms = make(np.zeros(3, stored), n)
        assert [room.shape for room in rooms] == 3 * [(n,)]
        assert [room.dtype for room in rooms] == [computed(name), np.dtype(stored), np.dtype(np.float64)]
        for room in rooms:
            room[:] = 1
    with pytest.raises(MemoryError):
        make(np.zeros(3, stored), 2**59)


@pytest.mark.parametrize("name", STORED)
def test_room_on_the_stack(name):
    @compiled
    def reverse(x, out, n):
        room = simd.scratch(x, n)
        for k in range(n):
            simd.store(room, k * simd.lanes(x), simd.load(x, k * simd.lanes(x)))
        for k in range(n):
            simd.store(out, (n - 1 - k) * simd.lanes(x), simd.load(room, k * simd.lanes(x)))

    stored, kind = STORED[name]
    for n in (1, 2, 207):
        x = np.resize(np.arange(1, 100), (n, LANES[name])).astype(kind).view(stored)
        out = np.zeros_like(x)
        reverse(x.ravel(), out.ravel(), n)
        same_bits(out, x[::-1])


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
        for i in range(0, x.size, WIDE):
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


NODE_BITS = {np.float32: 4 if WIDE == 8 else 3, np.float64: 3}  # 16 nodes an octave, or 8
EXPONENT_BITS = {np.float32: 8, np.float64: 11}
UNSIGNED = {np.float32: np.uint32, np.float64: np.uint64}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", SIZES)
def test_add_node_adds_to_the_bits_where_nodes_are_counted(size, dtype):
    rng = np.random.default_rng(0)
    node, steps, out = any_bits(rng, 320, dtype), any_bits(rng, 320, dtype), np.empty(320, dtype)
    mapped(lambda a, b: simd.add_node(a, b), size)(node, steps, out)
    unsigned, shift = UNSIGNED[dtype], np.finfo(dtype).nmant - NODE_BITS[dtype]
    np.testing.assert_array_equal(out.view(unsigned), node.view(unsigned) + (steps.view(unsigned) << unsigned(shift)))
    assert simd.NODE_SHIFT[8 * node.itemsize] == shift
    assert simd.NODES[8 * node.itemsize] == 2 ** NODE_BITS[dtype]


def magic(dtype):
    """The number in whose last bits steps are counted."""
    return dtype(1.5 * 2 ** np.finfo(dtype).nmant)


@compiled
def note(seen, steps, noted):
    simd.store(noted, 0, simd.note_steps(simd.load(seen, 0), simd.load_group(steps, 0)))
    return simd.all_in_range(simd.load(noted, 0))


@pytest.mark.parametrize("dtype", FLOATS)
def test_note_steps_sets_the_bits_of_all(dtype):
    width, unsigned = LANES[np.dtype(dtype).name], UNSIGNED[dtype]
    rng = np.random.default_rng(0)
    noted = np.empty(width, dtype)
    for _ in range(20):
        seen, steps = any_bits(rng, width, dtype), any_bits(rng, 4 * width, dtype)
        seen.view(unsigned)[::2] &= unsigned(0xFF)
        steps.view(unsigned)[::3] &= unsigned(0xFF)
        note(seen, steps, noted)
        expected = np.bitwise_or.reduce(steps.view(unsigned).reshape(4, width)) | seen.view(unsigned)
        np.testing.assert_array_equal(noted.view(unsigned), expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_all_in_range_finds_steps_outside_in_every_lane(dtype):
    width = LANES[np.dtype(dtype).name]
    count = 2 ** (EXPONENT_BITS[dtype] + NODE_BITS[dtype])
    rng = np.random.default_rng(0)
    good = magic(dtype) + np.append(rng.integers(0, count, 4 * width - 2), [0, count - 1]).astype(dtype)
    above = magic(dtype) + np.array([count, count + 1, 2 * count, 8 * count, magic(dtype) / 4], dtype)
    far_above = np.array([2, 3, 1e4, np.inf], dtype) * magic(dtype)
    others = np.array([np.nan, -np.nan, -magic(dtype), -np.inf], dtype)
    nothing, noted, later = np.zeros((3, width), dtype)
    assert note(nothing, good, noted)
    assert note(noted, rng.permutation(good), later)
    for lane in range(4 * width):
        for value in (*above, *far_above, *others):
            steps = good.copy()
            steps[lane] = value
            assert not note(nothing, steps, noted)
            assert not note(noted, good, later), "what was seen before counts, too"


TABLE = """if True:
    import numpy as np
    from numba import njit
    from fastsoftmax import simd

    for dtype, count in ((np.float32, simd.NODES[32]), (np.float64, simd.NODES[64])):
        unsigned = f"u{dtype().itemsize}"
        rng = np.random.default_rng(0)
        single, double = rng.normal(0, 1, simd.NODES[32]).astype(np.float32), rng.normal(0, 1, simd.NODES[64])
        bits = [[int(b) for b in entries.view(f"u{entries.itemsize}")] for entries in (single, double)]
        lookup = simd.lookup_table(*bits)

        @njit
        def run(numbers, out):
            for i in range(0, out.size, simd.lanes(out)):
                simd.store(out, i, lookup(simd.load(numbers, i)))

        @njit
        def run_group(numbers, out):
            for i in range(0, out.size, 4 * simd.lanes(out)):
                simd.store(out, i, lookup(simd.load_group(numbers, i)))

        @njit
        def run_two(numbers, out):
            for i in range(0, out.size, 2 * simd.lanes(out)):
                simd.store(out, i, lookup(simd.load_two(numbers, i)))

        entries = single if dtype == np.float32 else double
        index = np.concatenate([np.arange(count), np.arange(count)[::-1], rng.integers(0, count, 64 * 15 - 2 * count)])
        for high in (np.zeros(index.size, unsigned), rng.integers(0, 2**32, index.size).astype(unsigned) * count,
                     np.full(index.size, -count).astype(unsigned)):
            numbers = (index.astype(unsigned) | high).view(dtype)
            for kernel in (run, run_two, run_group):
                out = np.empty(index.size, dtype)
                kernel(numbers, out)
                np.testing.assert_array_equal(out, entries[index])
"""
PROCESSORS = {  # the three ways to look up
    "this one": {},
    "AVX2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma"},
    "any": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
}


@pytest.mark.parametrize("processor", PROCESSORS)
def test_tables_are_looked_up_by_the_low_bits(processor):
    if processor == "AVX2" and not llvmlite.binding.get_host_cpu_features().get("avx2"):
        pytest.skip("needs AVX2")
    run_python(TABLE, env=PROCESSORS[processor])


# -- across the lanes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", SIZES)
def test_the_largest_lane(size, dtype):
    load, width = LOADS[size], lanes_of(size, np.dtype(dtype).name)

    @compiled
    def run(x, out):
        for i in range(out.size):
            out[i] = simd.largest(load(x, i * width))

    rows = np.random.default_rng(0).normal(0, 9, (width + 3, width)).astype(dtype)
    rows[range(width), range(width)] = 100
    rows[-3] = -np.inf
    rows[-2] = -np.abs(rows[-2])
    rows[-1, 1:] = -np.inf
    out = np.empty(len(rows), dtype)
    run(rows.ravel(), out)
    np.testing.assert_array_equal(out, rows.max(axis=1))
    rows[range(width), range(width)] = np.nan
    run(rows[:width].ravel(), out[:width])
    assert all(np.isnan(got) or got in row for got, row in zip(out[:width], rows, strict=False))
    run(np.full(width, np.nan, dtype), out[:1])
    assert np.isnan(out[0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_largest_of_four_vectors_lane_by_lane(dtype):
    @compiled
    def run(x, out):
        simd.store(out, 0, simd.largest_of_four(simd.load_group(x, 0)))

    width = LANES[np.dtype(dtype).name]
    rng = np.random.default_rng(0)
    x, out = rng.normal(0, 9, (4, width)).astype(dtype), np.empty(width, dtype)
    x[:, 0], x[:3, 1], x[0, 2], x[1, 3] = -np.inf, -np.inf, np.inf, np.inf
    for _ in range(10):
        x = rng.permutation(x)
        run(x.ravel(), out)
        np.testing.assert_array_equal(out, x.max(axis=0))
    x[range(4), range(4)] = np.nan
    run(x.ravel(), out)
    assert all(np.isnan(got) or got in lane for got, lane in zip(out[:4], x.T, strict=False))
    np.testing.assert_array_equal(out[4:], x[:, 4:].max(axis=0))


@pytest.mark.parametrize("name", STORED)
def test_groups_are_taken_apart_and_joined(name):
    @compiled
    def run(x, apart, turned, fourfold):
        group, width = simd.load_group(x, 0), simd.lanes(x)
        a, b, c, d = simd.quarters(group)
        for k, vector in enumerate((a, b, c, d)):
            simd.store(apart, k * (width + 1), vector)
        simd.store(turned, 0, simd.join(c, a, d, b))
        simd.store(fourfold, 0, simd.repeated(b))

    width = LANES[name]
    x = np.arange(1, 4 * width + 1)
    apart, turned, fourfold = np.zeros((3, 4 * width + 4), computed(name))
    run(bits_of(x, name), apart, turned, fourfold)
    rows = x.reshape(4, width)
    np.testing.assert_array_equal(apart.reshape(4, width + 1), np.pad(rows, [(0, 0), (0, 1)]))
    np.testing.assert_array_equal(turned, [*rows[[2, 0, 3, 1]].ravel(), 0, 0, 0, 0])
    np.testing.assert_array_equal(fourfold, [*rows[[1, 1, 1, 1]].ravel(), 0, 0, 0, 0])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", SIZES)
def test_masks_as_a_whole(size, dtype):
    load, width = LOADS[size], lanes_of(size, np.dtype(dtype).name)

    @compiled
    def run(x):
        mask = load(x, 0) < 1.0
        return simd.any_set(mask), simd.count_set(mask)

    rng = np.random.default_rng(0)
    single, none = np.eye(width, dtype=bool), np.zeros((1, width), bool)
    for mask in np.concatenate([none, ~none, single, ~single, rng.random((50, width)) < 0.3]):
        assert run(np.where(mask, dtype(0), dtype(1))) == (mask.any(), mask.sum())


@pytest.mark.parametrize("dtype", FLOATS)
def test_packed_lanes_come_first_in_their_order(dtype):
    @compiled
    def run(x, out):
        v = simd.load(x, 0)
        simd.store(out, 0, simd.packed(v < 100.0, v))

    width = LANES[np.dtype(dtype).name]
    out = np.empty(width, dtype)
    rng = np.random.default_rng(0)
    single, none = np.eye(width, dtype=bool), np.zeros((1, width), bool)
    for mask in np.concatenate([none, ~none, single, ~single, rng.random((50, width)) < 0.3]):
        x = np.where(mask, np.arange(width), 100 + np.arange(width)).astype(dtype)
        run(x, out)
        np.testing.assert_array_equal(out[: mask.sum()], x[mask])


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
@pytest.mark.parametrize("size", SIZES)
def test_keep_first_and_keep_last(size, dtype):
    load, width = LOADS[size], lanes_of(size, np.dtype(dtype).name)

    @compiled
    def run(x, out, count):
        simd.store(out, 0, simd.keep_first(load(x, 0), count))
        simd.store(out, width, simd.keep_last(load(x, 0), count))

    x = np.arange(1, width + 1).astype(dtype)
    x[2], x[-1] = np.nan, np.inf
    for count in range(width + 1):
        out = np.full(2 * width, 7, dtype)
        run(x, out, count)
        same_bits(out[:width], np.where(np.arange(width) < count, x, dtype(0)))
        same_bits(out[width:], np.where(np.arange(width) >= width - count, x, dtype(0)))


# -- memory -------------------------------------------------------------------------------------------------


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
@pytest.mark.parametrize("size", LOADS)
def test_load_and_store_at_any_offset_touch_their_lanes_only(name, size):
    load, width = LOADS[size], lanes_of(size, name)

    @compiled
    def copy(x, i, out, j):
        simd.store(out, j, load(x, i))

    x = np.arange(1, 100)
    for i, j in ((0, 0), (1, 5), (7, 13), (20, 80 - width)):
        out = bits_of(np.full(80, -3), name)
        copy(bits_of(x, name), i, out, j)
        expected = np.full(80, -3.0)
        expected[j : j + width] = x[i : i + width]
        np.testing.assert_array_equal(read(out, name), expected)


@pytest.mark.parametrize("name", STORED)
def test_load_group_wide_gives_four_wide_vectors(name):
    @compiled
    def run(x, out):
        a, b, c, d = simd.quarters(simd.load_group_wide(x, 3))
        simd.store(out, 0, a)
        simd.store(out, WIDE, b)
        simd.store(out, 2 * WIDE, c)
        simd.store(out, 3 * WIDE, d)

    x = bits_of(np.linspace(-9, 70, 40), name)
    out = np.zeros(4 * WIDE)
    run(x, out)
    np.testing.assert_array_equal(out, read(x, name)[3 : 3 + out.size])


THROUGH_POINTERS = {
    "load": lambda x, out: simd.store(out, 1, simd.load(x, 3)),
    "load_group": lambda x, out: simd.store(out, 1, simd.load_group(x, 3)),
    "load_two": lambda x, out: simd.store(out, 1, simd.load_two(x, 3)),
    "load_wide": lambda x, out: simd.store(out, 1, simd.load_wide(x, 3)),
    "load_group_wide": lambda x, out: simd.store(out, 1, simd.load_group_wide(x, 3)),
    "load_first": lambda x, out: simd.store_first(out, 1, simd.load_first(x, 3, 5), 7),
    "load_first_wide": lambda x, out: simd.store_first(out, 1, simd.load_first_wide(x, 3, 5), 7),
    "load_columns": lambda x, out: simd.store_columns(out, 1, 6, simd.load_columns(x, 3, 5)),
    "load_two_columns": lambda x, out: simd.store_columns(out, 1, 6, simd.load_two_columns(x, 3, 5)),
    "splat": lambda x, out: simd.store(out, 1, simd.splat(x, 5)),
    "splat_group": lambda x, out: simd.store(out, 1, simd.splat_group(x, 5)),
    "copy_one": lambda x, out: simd.copy_one(x, 3, out, 1),
}


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("what", THROUGH_POINTERS)
def test_a_pointer_serves_as_the_array(what, name):
    move = part(THROUGH_POINTERS[what])

    @compiled
    def by_array(x, out):
        move(x, out)

    @compiled
    def by_pointer(x, out):
        move(simd.pointer_to(x), simd.pointer_to(out))

    x = bits_of(np.arange(1, 101), name)
    x.flags.writeable = False
    one, other = bits_of(np.full((2, 110), -3), name)
    by_array(x, one)
    by_pointer(x, other)
    np.testing.assert_array_equal(other, one)
    assert (read(other, name) != -3).any()


def test_keep_alive():
    @compiled
    def run(out):
        room = np.empty(out.size)
        pointer = simd.pointer_to(room)
        for i in range(0, out.size, WIDE):
            simd.store(pointer, i, simd.splat_wide(i))
        later = np.full(out.size, -1.0)  # would lie in the same place if `room` were gone
        for i in range(0, out.size, WIDE):
            simd.store(out, i, simd.load(pointer, i))
        simd.keep_alive(room)
        return later[0]

    out = np.empty(64)
    for _ in range(100):
        assert run(out) == -1
        np.testing.assert_array_equal(out, np.arange(64) // WIDE * WIDE)


@pytest.mark.parametrize("name", STORED)
def test_scratch_is_room_of_the_type_that_an_array_is_computed_in(name):
    @compiled
    def run(x, out, other, thirds):
        width = 4 * simd.lanes(x)
        one, two = simd.scratch(x, 4), simd.scratch(x, 4)
        simd.store(one, 0, simd.load_group(x, 0) / 3)
        simd.store(two, 0, simd.load_group(x, width))
        wide = simd.scratch_wide(width // WIDE)
        for i in range(width):
            wide[i] = 1 / 3
        for i in range(width):
            simd.copy_one(one, i, out, width - 1 - i)
            thirds[i] = wide[i]
        simd.store(other, 0, simd.load_group(two, 0))

    width = 4 * LANES[name]
    x = np.arange(1, 2 * width + 1)
    out, other = np.empty((2, width), computed(name))
    thirds = np.empty(width)
    run(bits_of(x, name), out, other, thirds)
    np.testing.assert_array_equal(out, (x[:width].astype(out.dtype) / out.dtype.type(3))[::-1])
    np.testing.assert_array_equal(thirds, np.full(width, 1 / 3))
    np.testing.assert_array_equal(other, x[width:])


@pytest.mark.parametrize("name", STORED)
def test_store_one_writes_one_number(name):
    @compiled
    def run(out, value):
        simd.store_one(out, 3, value)
        simd.store_one(simd.pointer_to(out), 5, -value)

    out = bits_of(np.full(8, 7), name)
    run(out, 1 / 3)
    expected = np.full(8, 7.0)
    expected[[3, 5]] = 1 / 3, -1 / 3
    np.testing.assert_array_equal(out, bits_of(expected, name))


@pytest.mark.parametrize("name", STORED)
def test_prefetch_of_any_index_changes_nothing(name):
    @compiled
    def run(x, index):
        simd.prefetch(x, index)
        simd.prefetch_to_write(simd.pointer_to(x), index)

    x = bits_of(np.arange(64), name)
    before = x.copy()
    for index in (0, 5, 64, -1, 4096, *(sign * 2**k for k in range(20, 63) for sign in (1, -1)), -(2**63)):
        run(x, index)
        run(x[:0], index)
    np.testing.assert_array_equal(x, before)
    code = "".join(run.inspect_llvm().values())
    assert "i32 0, i32 2, i32 1)" in code
    assert "i32 1, i32 2, i32 1)" in code


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("wide", [False, True])
def test_load_first_fills_with_minus_infinity(name, wide):
    width = WIDE if wide else LANES[name]
    x = bits_of(np.arange(1, 40), name)
    for count in range(width + 1):
        out = np.zeros(16, np.float64 if wide or name == "float64" else np.float32)
        (load_some_wide if wide else load_some)(x, 3, count, out)
        expected = np.append(np.arange(4, 4 + count), np.full(width - count, -np.inf))
        np.testing.assert_array_equal(out[:width], expected)


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("wide", [False, True])
def test_store_first_writes_nothing_beyond(name, wide):
    width = WIDE if wide else LANES[name]
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
        from fastsoftmax.simd import WIDE, lanes, load_columns, load_first, load_first_wide, load_two_columns
        from fastsoftmax.simd import store, store_columns, store_first

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
        def columns(x, width, step):
            four = x.size - (width - 1) * step - 4
            store_columns(x, four, step, load_columns(x, four, step))
            two = x.size - (width - 1) * step - 2
            store_columns(x, two, step, load_two_columns(x, two, step))

        for dtype in (np.float32, np.float64, np.uint16, np.int16):
            x = np.frombuffer(memory, dtype, page // np.dtype(dtype).itemsize)
            tile = np.zeros(16 * 16, np.float64 if dtype == np.float64 else np.float32)
            width = WIDE if dtype == np.float64 else 2 * WIDE
            for count in range(width + 1):
                some(x, count, tile)
                if count <= WIDE:
                    wide(x, count, tile)
            for step in (4, 5, 19):
                columns(x, width, step)
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
def four_columns(x, start, step, tile, out):
    columns = simd.load_columns(x, start, step)
    simd.store(tile, 5, columns)
    simd.store_columns(out, start, step, columns)


@compiled
def two_columns(x, start, step, tile, out):
    columns = simd.load_two_columns(x, start, step)
    simd.store(tile, 5, columns)
    simd.store_columns(out, start, step, columns)


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize(("move", "count"), [(four_columns, 4), (two_columns, 2)])
def test_columns_of_rows_and_back(name, move, count):
    width, start = LANES[name], 7
    for step in (count, count + 1, 19):
        values = np.arange(1.0, start + step * width + 9) % 199  # exact in every type
        tile = np.full(5 + width * count + 6, -3, np.float64 if name == "float64" else np.float32)
        out = bits_of(np.full(values.size, -3), name)
        move(bits_of(values, name), start, step, tile, out)
        places = start + step * np.arange(width) + np.arange(count)[:, None]
        np.testing.assert_array_equal(tile[5 : 5 + width * count], values[places].ravel())
        assert (tile[:5] == -3).all()
        assert (tile[5 + width * count :] == -3).all()
        back = np.full(values.size, -3.0)
        back[places] = values[places]
        np.testing.assert_array_equal(read(out, name), back)


@compiled
def copy_some(source, target, count):
    for i in range(count):
        simd.copy_one(source, i, target, i + 1)


@pytest.mark.parametrize("name", STORED)
def test_single_elements_are_converted(name):
    values = np.array([1.5, -2.0, np.inf, np.nan, -0.0])
    for wider in (np.float64,) if name == "float64" else (np.float64, np.float32):
        wide = np.full(7, -3, wider)
        copy_some(bits_of(values, name), wide, 5)
        np.testing.assert_array_equal(wide, [-3, *values, -3])
    out = bits_of(np.full(8, -3), name)
    copy_some(wide, out, 7)
    np.testing.assert_array_equal(read(out, name), [-3, -3, *values, -3])


@compiled
def elements_in_a_line(x):
    return simd.in_a_line(x)


def test_elements_in_a_line():
    for dtype, count in ((np.float64, 8), (np.float32, 16), (np.uint16, 32)):
        assert elements_in_a_line(np.zeros(1, dtype)) == count
