"""NaN, infinities, empty arrays and fully masked rows: the contract's table, at every position of a row."""

import itertools

import ml_dtypes
import numpy as np
import pytest
from helpers import EXACT, FLOATS, LAYOUTS, OPS, SAFE, call, same_bits

import fastsoftmax

INF, NAN = np.inf, np.nan


def lengths_and_positions():
    for n in (1, 2, 3, 10, 16, 17, 33, 100, 257):
        yield n, sorted({0, 1 % n, n // 2, n - 1, *(p for p in (15, 16, 31, 32, 63, 64, 127, 128) if p < n)})
    yield 5000, [0, 7, 1023, 1024, 2047, 2048, 4095, 4096, 4992, 4999]


def expected_row(op, row):
    """NaN poisons; +inf, or nothing but -inf, makes NaN rows; in a logsumexp +inf wins over -inf."""
    if op == "logsumexp":
        return NAN if np.isnan(row).any() else INF if (row == INF).any() else -INF if (row == -INF).all() else None
    return NAN if np.isnan(row).any() or (row == INF).any() or (row == -INF).all() else None


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("along", ["rows", "columns"])
def test_the_table_at_every_position(op, dtype, method, along, rng):
    for n, positions in lengths_and_positions():
        clean = rng.normal(0, 3, (1, n)).astype(dtype)
        x = np.repeat(clean, 5 * len(positions) + 2, axis=0)
        for k, p in enumerate(positions):
            other = positions[k - 1]
            x[5 * k, p] = NAN
            x[5 * k + 1, p] = INF
            x[5 * k + 2, [p, other]] = -INF, INF
            x[5 * k + 3, [other, p]] = INF, NAN
            x[5 * k + 4, :] = -INF
        got = call(op, x, 1, method=method) if along == "rows" else call(op, x.T.copy(), 0, method=method).T
        for row, result in zip(x, got, strict=True):
            expected = expected_row(op, row)
            if expected is None:
                assert np.isfinite(result).all(), n  # neighbours of poisoned rows are untouched
            else:
                np.testing.assert_array_equal(
                    result,
                    np.full_like(result, expected),
                    err_msg=f"n={n}: {np.flatnonzero(~np.isfinite(row))}",
                )
        np.testing.assert_array_equal(got[-1], got[-2])


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("along", ["rows", "columns"])
def test_minus_infinity_gets_exactly_nothing(dtype, method, along, rng):
    def run(op, x):
        return call(op, x, 1, method=method) if along == "rows" else call(op, x.T.copy(), 0, method=method).T

    for n, positions in lengths_and_positions():
        if n == 1:
            continue
        x = rng.normal(0, 3, (len(positions) * 2, n)).astype(dtype)
        for k, p in enumerate(positions):
            x[2 * k, p] = -INF
            x[2 * k + 1] = -INF
            x[2 * k + 1, p] = -2.5  # a single finite element
        gone = x == -INF
        p = run("softmax", x)
        same_bits(p[gone], np.zeros(gone.sum(), dtype))
        assert np.isfinite(p).all()
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(p[1::2] > 0, ~gone[1::2])
        np.testing.assert_array_equal(p[1::2].max(axis=1), 1)
        log_p = run("log_softmax", x)
        np.testing.assert_array_equal(log_p == -INF, gone)
        assert not np.isnan(log_p).any()
        np.testing.assert_array_equal(run("logsumexp", x)[1::2], -2.5)


@pytest.mark.parametrize("base", [-90852.0, -90850.0, -90800.0, -90000.0, -88000.0, 90800.0])
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("dtype", FLOATS)
def test_minus_infinity_is_nothing_beside_the_lowest_numbers_too(dtype, method, base):
    for n in (3, 64, 700):
        x = np.full(n, -np.inf, dtype)
        x[1] = base
        expected = (np.arange(n) == 1).astype(dtype)
        np.testing.assert_array_equal(fastsoftmax.softmax(x, method=method), expected)
        assert fastsoftmax.logsumexp(x, method=method) == dtype(base)


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("dtype", "payloads"),
    [
        (np.float32, [0x7FC00000, 0xFFC00000, 0x7FC12345, 0xFFFFFFFF, 0x7F800001, 0x7FFFFFFF]),
        (
            np.float64,
            [0x7FF8 << 48, 0xFFF8 << 48, 0x7FF8_0000_0001_2345, 2**64 - 1, 0x7FF0_0000_0000_0001, 2**63 - 1],
        ),
    ],
)
def test_every_nan_is_a_nan(op, dtype, payloads, method):
    bits = np.dtype(f"u{np.dtype(dtype).itemsize}")
    for n, position in itertools.product((1, 5, 16, 40, 210, 410), (0, -1)):
        x = np.zeros((len(payloads), n), dtype)
        x[:, position] = np.array(payloads, bits).view(dtype)
        for axis, y in ((1, x), (0, x.T.copy())):
            assert np.isnan(call(op, y, axis, method=method)).all(), (n, position, axis)


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
def test_exp_of_log_softmax_has_the_same_non_finite_rows(dtype, method):
    for row in itertools.product([NAN, INF, -INF, 0.0, 1e30], repeat=3):
        x = np.array(row, dtype)
        p, log_p = (call(op, x, 0, method=method) for op in ("softmax", "log_softmax"))
        np.testing.assert_array_equal(np.isnan(p), np.isnan(log_p), err_msg=str(row))
        with np.errstate(under="ignore"):
            np.testing.assert_allclose(np.exp(log_p), p, rtol=1e-6, err_msg=str(row))


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
def test_fully_masked_rows(dtype, method, rng):
    for n in (1, 2, 10, 17, 100, 3000):
        x = rng.normal(0, 3, (4, n)).astype(dtype)
        x[3] = NAN
        keep = np.ones((4, n), bool)
        keep[[1, 3]] = False
        for y, where, axis in ((x, keep, 1), (x.T.copy(), keep.T, 0), (x, keep[:, :1], 1)):
            p, log_p = (
                np.moveaxis(call(op, y, axis, where=where, method=method), axis, -1)
                for op in ("softmax", "log_softmax")
            )
            same_bits(p[[1, 3]], np.zeros((2, n), dtype))
            np.testing.assert_array_equal(log_p[[1, 3]], -INF)
            lse = call("logsumexp", y, axis, where=where, method=method)
            np.testing.assert_array_equal(lse[[1, 3]], -INF)
            assert np.isfinite(lse[[0, 2]]).all()
            assert np.isfinite(p).all()


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("special", [NAN, INF, -INF])
@pytest.mark.parametrize("op", OPS)
def test_what_is_masked_takes_no_part(op, special, method, rng):
    for n in (2, 10, 40, 700):
        x = rng.normal(0, 3, (3, n))
        keep = np.ones(n, bool)
        keep[[0, n // 2]] = False
        if not keep.any():
            keep[-1] = True
        clean = call(op, x, 1, where=keep, method=method)
        x[:, ~keep] = special
        np.testing.assert_array_equal(call(op, x, 1, where=keep, method=method), clean)


EMPTY_TYPES = (*FLOATS, np.float16, ml_dtypes.bfloat16, np.int64, np.uint8, bool, np.longdouble, np.complex64)


@pytest.mark.parametrize("dtype", EMPTY_TYPES)
@pytest.mark.parametrize("op", OPS)
def test_empty(op, dtype):
    result_dtype = np.float64 if np.dtype(dtype).kind in "iub" else dtype
    for shape in ((0,), (0, 3), (3, 0), (0, 0), (2, 0, 4), (0, 2, 3), (2, 3, 0)):
        x = np.zeros(shape, dtype)
        for axis in [
            None,
            (),
            *range(-len(shape), len(shape)),
            *itertools.combinations(range(len(shape)), 2),
        ]:
            for method in SAFE:
                got = call(op, x, axis, method=method)
                assert got.dtype == result_dtype
                if op != "logsumexp":
                    assert got.shape == shape
                    continue
                expected = np.sum(x, axis=axis)
                assert got.shape == expected.shape
                assert np.all(got == -INF)
                for keepdims in (False, True):
                    value, sign = call(op, x, axis, keepdims=keepdims, return_sign=True, method=method)
                    assert value.shape == sign.shape == np.sum(x, axis=axis, keepdims=keepdims).shape
                    assert np.all(value == -INF)
                    assert np.all(sign == 0)


def test_empty_lists_and_scalars():
    assert call("softmax", [], None).shape == (0,)
    assert call("log_softmax", [[], []], 1).shape == (2, 0)
    value = call("logsumexp", [], None)
    assert value == -INF
    assert type(value) is np.float64
    assert call("logsumexp", [], None, b=[]) == -INF


@pytest.mark.parametrize("op", OPS)
def test_empty_with_out_and_where(op):
    x = np.zeros((3, 0))
    out = np.full(3, 7.0) if op == "logsumexp" else np.empty((3, 0))
    assert call(op, x, 1, out=out, where=np.ones((3, 1), bool)) is out
    assert np.all(out == -INF)


KINDS = {"NaN": (NAN,), "inf": (INF,), "inf and -inf": (INF, -INF), "NaN and inf": (NAN, INF), "all -inf": ()}


def poison(row, kind, position, other):
    """Put the numbers of a kind at a position and another one; return the row and what it becomes, by name of op."""
    row = row.copy()
    if not KINDS[kind]:
        row[...] = -INF
    for value, place in zip(KINDS[kind], (position, other), strict=False):
        row[place] = value
    return row, {op: expected_row(op, row) for op in OPS}


def threads_of(method):
    return (1, 2, 3) if method == "parallel" else (1,)


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_the_table_in_long_rows(op, dtype, method, rng, restore_threads):
    piece, n = 2**16, 2**18 + 2**16 + 37  # four pieces, the last of them longer
    places = [0, 3, 4095, 4096, piece - 1, piece, 3 * piece - 1, 3 * piece, 2**18, n - 70, n - 1]
    clean = rng.normal(0, 3, n).astype(dtype)
    out = np.empty(() if op == "logsumexp" else n, dtype)
    for threads, kind, k in itertools.product(threads_of(method), KINDS, range(len(places))):
        if kind == "all -inf" and k:
            continue
        fastsoftmax.set_num_threads(threads)
        row, expected = poison(clean, kind, places[k], places[k - 1])
        for in_place in (False, True) if op != "logsumexp" and threads != 2 else (False,):
            got = call(op, row, method=method, out=row if in_place else out)
            wrong = ~np.isnan(got) if np.isnan(expected[op]) else got != expected[op]
            assert not wrong.any(), (threads, kind, places[k], in_place)


@pytest.mark.parametrize("layout", ["C", "Fortran", "every second", "negative"])
@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_table_along_every_axis_leaves_the_neighbours_alone(dtype, method, layout, rng, restore_threads):
    clean = rng.normal(0, 3, (5, 33, 17)).astype(dtype)
    for axis, threads in itertools.product((0, 1, 2, (0, 1), (1, 2), (0, 2), None), threads_of(method)):
        fastsoftmax.set_num_threads(threads)
        axes = tuple(range(3)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        line = tuple(slice(None) if a in axes else 2 for a in range(3))  # one row among others
        plain = {op: call(op, LAYOUTS[layout](clean), axis, method=method) for op in OPS}
        for kind, last in itertools.product(KINDS, (False, True)):
            x = clean.copy()
            row, expected = poison(x[line].ravel(), kind, -1 if last else 0, 1)
            x[line] = row.reshape(x[line].shape)
            for op in OPS:
                got = np.array(call(op, LAYOUTS[layout](x), axis, method=method))
                here = line if op != "logsumexp" else tuple(2 for a in range(3) if a not in axes)
                np.testing.assert_array_equal(
                    got[here], np.full_like(got[here], expected[op]), err_msg=f"{axis} {kind}"
                )
                got[here] = np.asarray(plain[op])[here]
                same_bits(got, plain[op])


OTHER_TYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "longdouble": np.longdouble}


@pytest.mark.parametrize("kind", [*OTHER_TYPES, "masked", "temperature", "negative temperature"])
@pytest.mark.parametrize("op", OPS)
def test_the_table_in_other_types_and_ways(op, kind, rng):
    dtype = (
        ml_dtypes.bfloat16 if kind == "bfloat16" else np.dtype(kind) if "1" in kind or "long" in kind else np.float64
    )
    arguments = {"masked": {"where": np.True_}, "temperature": {"temperature": 1e305}}.get(kind, {})
    if kind == "negative temperature":
        arguments = {"temperature": -2.0}
    if op == "logsumexp":
        arguments.pop("temperature", None)
    for n in (1, 2, 17, 100, 5000):
        clean = rng.normal(0, 3, n)
        for name, position in itertools.product(KINDS, (0, n // 2, n - 1)):
            row, expected = poison(clean, name, position, (position + 1) % n)
            row = row * np.sign(arguments.get("temperature", 1.0))
            if kind == "masked":
                arguments = {"where": np.arange(n + 1) < n}
                row = np.append(row, NAN)
            got = np.asarray(call(op, row.astype(dtype), 0, **arguments)).astype(float)
            if kind == "masked" and op != "logsumexp":
                assert got[-1] == (0 if op == "softmax" else -INF)
                got = got[:-1]
            np.testing.assert_array_equal(got, np.full_like(got, expected[op]), err_msg=f"{n} {name} {position}")


@pytest.mark.parametrize("dtype", [*FLOATS, np.longdouble])
def test_weights_and_infinities(dtype):
    def check(a, b, value, sign):
        a, b = np.array(a, dtype), np.array(b, dtype)
        two_rows = np.stack([a, np.zeros_like(a)]), np.stack([b, np.ones_like(b)])
        for axis, x, w in ((0, a, b), (0, a[:, None], b[:, None]), (1, *two_rows)):
            got, got_sign = (np.ravel(v)[0] for v in call("logsumexp", x, axis, b=w, return_sign=True))
            np.testing.assert_array_equal([got, got_sign], [value, sign])
            plain = np.ravel(call("logsumexp", x, axis, b=w))[0]
            np.testing.assert_array_equal(plain, NAN if sign < 0 else value)

    check([INF, 1], [1, 1], INF, 1)
    check([INF, 1], [-2, 1], INF, -1)
    check([INF, 1], [0, 1], 1, 1)
    check([INF, INF], [1, -1], NAN, NAN)
    check([INF, INF], [3, -1], NAN, NAN)
    check([INF, -INF], [1, -1], INF, 1)
    check([INF, 1e4], [1, -1], INF, 1)
    check([-INF, -INF], [1, -1], -INF, 0)
    check([1, 2], [INF, 1], INF, 1)
    check([1, 2], [-INF, 1], INF, -1)
    check([1, 2], [INF, -INF], NAN, NAN)
    check([-INF, 2], [INF, 1], NAN, NAN)
    check([-1e4, 2], [INF, 1], INF, 1)
    check([1, 2], [NAN, 1], NAN, NAN)
    check([NAN, 2], [0, 1], 2, 1)
    check([NAN, INF], [1, 1], NAN, NAN)
    check([0, 0], [0, 0], -INF, 0)
    check([INF], [0], -INF, 0)
