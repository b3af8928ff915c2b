"""The careful way, which is compiled when a row first needs it: until then kernels leave such rows undone."""

import itertools

import numpy as np
import pytest
from helpers import FLOATS, OPS, call, same_bits

from fastsoftmax import choice, direct, explain, routes, set_num_threads, steps, team, tiles
from fastsoftmax.jit import Kernel
from fastsoftmax.kernels import (
    columns,
    folded_columns,
    large_rows,
    large_short_rows,
    narrow,
    rows,
    short_columns,
    short_rows,
    two_pass,
)
from fastsoftmax.routes import reads

# A shape and an axis for each way.
WAYS = {
    "rows": ((40, 700), 1),
    "narrow rows": ((50, 7), 1),
    "short rows": ((50, 300), 1),
    "columns": ((300, 90), 0),
    "short columns": ((9, 90), 0),
    "folded columns": ((3000, 5), 0),
}
WAYS_IN_DOUBLE = WAYS | {"short rows": ((50, 150), 1)}
ODD = (np.nan, np.inf, "huge", "near 0", "masked")
KERNELS = [
    getattr(module, f"{op}_{kind}")
    for op, (module, kind) in itertools.product(
        OPS,
        [
            (rows, "rows"),
            (narrow, "rows"),
            (short_rows, "rows"),
            (two_pass, "rows"),
            (columns, "columns"),
            (short_columns, "columns"),
            (folded_columns, "columns"),
        ],
    )
] + [getattr(module, f"{op}_rows") for module in (large_rows, large_short_rows) for op in OPS if op != "logsumexp"]


@pytest.fixture
def forgotten(monkeypatch):
    """Tell kernels that nothing they may call later is compiled; return what says how often that was asked for."""
    asked = []
    complete = Kernel.complete

    def noting(kernel, dtype):
        asked.append(kernel)
        complete(kernel, dtype)

    monkeypatch.setattr(Kernel, "complete", noting)

    def forget():
        asked.clear()
        for kernel in KERNELS:
            for cells, _ in kernel._cells.values():
                cells[:] = 0
            kernel._completed.clear()
        for remembered in (direct._plan, steps.steps_for, tiles._plan):
            remembered.cache_clear()
        return asked

    forget()
    yield forget
    forget()


def odd_array(kind, shape, axis, dtype, rng):
    """Return numbers of which some rows along the axis are odd."""
    x = rng.normal(0, 1, shape).astype(dtype)
    view = np.moveaxis(x, axis, -1)
    for row in (1, -1):
        if kind == "huge":
            view[row, 1] = np.finfo(dtype).max / 4
        elif kind == "near 0":
            view[row] -= np.log(np.exp(view[row].astype(float)).sum()) - 0.01
        elif kind == "masked":
            view[row] = -np.inf
        else:
            view[row, 2] = kind
    return x


@pytest.mark.parametrize("dtype", [*FLOATS, np.float16])
@pytest.mark.parametrize("op", OPS)
def test_rows_left_undone_are_done_again(op, dtype, rng, forgotten):
    if not reads(np.dtype(dtype)):
        pytest.skip("this processor does not convert float16")
    ways = WAYS_IN_DOUBLE if dtype == np.float64 else WAYS
    for (way, (shape, axis)), kind in itertools.product(ways.items(), ODD):
        x = odd_array(kind, shape, axis, dtype, rng)
        assert explain(x, axis, op=op).startswith(f"{way}:")
        expected = call(op, x, axis)
        asked = forgotten()
        same_bits(call(op, x, axis), expected)
        if kind == "huge" and dtype == np.float16:  # what is huge there is not in float32
            assert len(asked) <= 1, way
        elif kind != "near 0":
            assert len(asked) == 1, way
        elif op != "logsumexp":
            assert not asked, way
        asked.clear()
        same_bits(call(op, x, axis), expected)
        assert not asked, way
        if op != "logsumexp":
            forgotten()
            same_bits(call(op, x.copy(), axis, out=np.empty_like(x)), expected)
            for short in (True, False):
                forgotten()
                y = x.copy()
                if short:
                    call(op, y, axis, out=y)
                else:
                    call(op, y, axis, out=y[...])
                np.testing.assert_allclose(y, expected, rtol=4 * float(np.finfo(dtype).eps), atol=1e-6)


@pytest.mark.parametrize("works", [True, False], ids=["team", "tasks of Python's"])
@pytest.mark.parametrize("op", OPS)
def test_threads_leave_rows_undone_too(op, works, rng, forgotten, monkeypatch, restore_threads):
    monkeypatch.setattr(team, "LEAST", 64)
    if not works:
        monkeypatch.setattr(team._team, "works", False)
    set_num_threads(3)
    for (way, (shape, axis)), kind in itertools.product(WAYS.items(), ODD):
        x = odd_array(kind, shape, axis, np.float32, rng)
        expected = call(op, x, axis)
        forgotten()
        same_bits(call(op, x, axis, method="parallel"), expected)
        if op != "logsumexp":
            forgotten()
            y = x.copy()
            call(op, y, axis, out=y, method="parallel")
            np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-30, err_msg=way)


@pytest.mark.parametrize("shape", [(7, 500), (40, 100)])
@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_large_rows_are_done_again(op, shape, rng, forgotten, monkeypatch):
    monkeypatch.setattr(routes, "PAST_CACHES", 1)
    for kind in ODD:
        x = odd_array(kind, shape, 1, np.float32, rng)
        forgotten()
        assert explain(x, 1, op=op).startswith("large rows")
        expected = call(op, x, 1)
        asked = forgotten()
        same_bits(call(op, x, 1), expected)
        assert len(asked) == (kind != "near 0")


@pytest.mark.parametrize("op", OPS)
def test_pieces_are_done_again(op, rng, forgotten, restore_threads):
    x = rng.normal(0, 3, (60_000, 6)).astype(np.float32)
    x[100, 1], x[:, 3] = np.nan, -np.inf
    expected = call(op, x, 0)
    for threads in (1, 2):
        set_num_threads(threads)
        forgotten()
        same_bits(call(op, x, 0), expected)


@pytest.mark.parametrize("op", OPS)
def test_the_two_pass_rung_does_so_too(op, rng, forgotten):
    for kind in ODD:
        x = odd_array(kind, (20, 300), 1, np.float64, rng)
        expected = call(op, x, 1, method="two_pass")
        forgotten()
        same_bits(call(op, x, 1, method="two_pass"), expected)


def test_no_other_kernel_is_compiled_for_plain_numbers(rng, forgotten):
    """Nor are rows of -inf and numbers, as masks make them, odd."""
    for op, (shape, axis) in itertools.product(OPS, WAYS.values()):
        x = rng.normal(3, 2, shape).astype(np.float32)
        x[rng.random(shape) < 0.2] = -np.inf
        asked = forgotten()
        call(op, x, axis)
        assert not asked


def test_every_kernel_that_calls_later_ones_is_known_here():
    modules = rows, narrow, short_rows, two_pass, columns, short_columns, folded_columns, large_rows, large_short_rows
    kernels = [k for module in modules for k in vars(module).values() if isinstance(k, Kernel) and k.later]
    assert set(kernels) == set(KERNELS)
    assert set(choice.REASONS) - {"large rows", "long rows", "tiles"} == set(WAYS)
