"""Each way through an array on its own, at the lengths where its loops begin and end, against exact results."""

import exactly
import numpy as np
import pytest
from helpers import FLOATS, OPS, assert_exact, call, family, same_bits

import fastsoftmax
from fastsoftmax.kernels import narrow
from fastsoftmax.simd import GROUP, WIDE

# For each way: the method, the reduced axis, and shapes with that axis last.
WAYS = {
    "rows": ("auto", 1, [(1, 64), (3, 65), (3, 127), (7, 128), (5, 191), (4, 255), (3, 1000), (2, 4097), (70, 460)]),
    "short rows": ("auto", 1, [(8, 64), (9, 79), (33, 100), (15, 112), (16, 128), (17, 129), (40, 199), (21, 301)]),
    "narrow": (
        "auto",
        1,
        [
            (1, 1),
            (40, 1),
            (16, 2),
            (37, 3),
            (33, 4),
            (8, 5),
            (50, 7),
            (16, 8),
            (17, 31),
            (100, 63),
            (49, 100),
            (17, 111),
        ],
    ),
    "long": ("auto", 1, [(1, 2**18 + 1), (2, 3 * 2**17 + 77)]),
    "columns": (
        "auto",
        0,
        [(256, 25), (5, 201), (65, 202), (64, 256), (90, 240), (130, 257), (68, 321), (70, 700), (103, 290)],
    ),
    "folded columns": (
        "auto",
        0,
        [(63, 202), (17, 400), (33, 240), (7, 321), (9, 700), (2, 2049), (10, 2001), (16, 800), (48, 300), (61, 1000)],
    ),
    "short columns": (
        "auto",
        0,
        [
            (64, 3),
            (65, 2),
            (100, 4),
            (1030, 9),
            (5, 2),
            (130, 21),
            (15, 31),
            (300, 32),
            (17, 4),
            (33, 7),
            (8, 16),
            (2, 5),
            (33, 64),
            (40, 200),
            (256, 24),
        ],
    ),
    "tall columns": ("auto", 0, [(3, 8193), (9, 20_000)]),
    **{
        name: (name, 1, [(1, 1), (5, 2), (3, 7), (2, 16), (4, 33), (3, 64), (2, 100), (2, 1000)])
        for name in ("naive", "stable", "online", "two_pass")
    },
}
PLAIN = ("normal*1", "uniform 87", "equal")
HARD = (
    *("normal*1000", "normal+10000", "normal-150", "late spike", "one peak", "ascending", "descending", "two levels"),
    *("one above equals", "-inf masks", "close tops", "near 0", "far below", "1e30", "largest", "subnormal"),
)
LONG = ("normal*1", "late spike", "normal+10000", "one peak", "-inf masks", "1e30")


def arrays_of(way, dtype):
    """Yield an array and its note for every shape, and for every family of rows in turn."""
    method, axis, shapes = WAYS[way]
    families = ("normal*1",) if method == "naive" else (*PLAIN, *HARD)
    if way in ("long", "tall columns"):
        families = LONG
    for k, (rows, n) in enumerate(shapes):
        for name in families[k::2] if families == LONG else families:
            x = family(name, dtype, n, rows)
            yield (x if axis == 1 else np.ascontiguousarray(x.T)), f"{way}, {name}, {x.shape}:"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("way", WAYS)
def test_within_the_bounds(way, op, dtype):
    method, axis, _ = WAYS[way]
    for x, note in arrays_of(way, dtype):
        got = call(op, x, axis, method=method)
        assert_exact(op, x, axis, got, method, note=note)
        if op != "logsumexp":
            y = x.copy()
            same_bits(call(op, y, axis, out=y, method=method), got)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS[:2])
@pytest.mark.parametrize("way", WAYS)
def test_with_a_temperature(way, op, dtype):
    method, axis, shapes = WAYS[way]
    for rows, n in shapes:
        x = family("normal*3", dtype, n, rows)
        x = x if axis == 1 else np.ascontiguousarray(x.T)
        for temperature in (0.5, 4.0):
            got = call(op, x, axis, temperature=temperature, method=method)
            true = exactly.exact(op, x / dtype(temperature), axis)
            assert_exact(op, x, axis, got, method, true=true, note=f"{way}, {(rows, n)}, {temperature}:")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("way", [way for way in WAYS if way != "naive"])
def test_a_row_that_is_special_leaves_the_others_alone(way, op, dtype):
    method, axis, shapes = WAYS[way]
    for k, (rows, n) in enumerate(shapes):
        x = family("normal*3", dtype, n, rows)
        x = x if axis == 1 else np.ascontiguousarray(x.T)
        plain = call(op, x, axis, method=method)
        value = (np.nan, np.inf, -np.inf, dtype(3e38))[k % 4]
        r, i = rows // 2, (n - 1, 0, n // 2)[k % 3]
        special = x.copy()
        special[(r, i) if axis == 1 else (i, r)] = value
        got = call(op, special, axis, method=method)
        if axis == 0 and op != "logsumexp":
            got, plain = got.T, plain.T
        others = np.arange(rows) != r
        same_bits(got[others], plain[others])
        row = special[r] if axis == 1 else special[:, r]
        if (row < np.inf).all() and (row > -np.inf).any():
            assert_exact(op, row, -1, got[r], method)
        elif op == "logsumexp":
            np.testing.assert_equal(float(got[r]), float(value))
        else:
            assert np.isnan(got[r]).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
def test_rows_where_one_way_ends_and_another_begins(op, dtype):
    for n in (63, 64, 65, 111, 112, 199, 200, 207, 208, 399, 400):
        for rows in (1, 7, 8, 31, 32):
            x = family("normal*3", dtype, n, rows)
            assert_exact(op, x, 1, call(op, x, 1), note=f"{(rows, n)}:")


def test_the_ways_are_what_they_are_called():
    names = {"narrow": "narrow rows", "long": "long rows"}
    for way in ("rows", "narrow", "short rows", "long", "columns", "folded columns", "short columns"):
        name = names.get(way, way)
        _, axis, shapes = WAYS[way]
        for rows, n in shapes:
            x = np.zeros((rows, n) if axis == 1 else (n, rows), np.float32)
            op = "logsumexp" if way == "narrow" else "softmax"  # of which wider rows are narrow
            if n > 1:
                assert fastsoftmax.explain(x, axis, op=op).startswith(name + ":"), (way, x.shape)


@pytest.mark.parametrize("dtype", FLOATS)
def test_rows_that_are_no_group_of_vectors_are_narrow(dtype):
    # kernels of rows read and write a group at least
    name = np.dtype(dtype).name
    for n in range(1, GROUP * WIDE * (2 if name == "float32" else 1)):
        assert all(narrow.is_narrow(rows, n, name) for rows in (1, 7, 8, 1000)), n
