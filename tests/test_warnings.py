"""No warning for any finite input, nor an error where NumPy is told to raise: types x extremes x layouts x rungs."""

import itertools
import textwrap

import ml_dtypes
import numpy as np
import pytest
from helpers import LAYOUTS, OPS, RUNGS, SAFE, call, run_python

TYPES = {
    name: np.dtype(name)
    for name in (
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"),
        *("float16", "float32", "float64", "longdouble", "complex64", "complex128"),
    )
} | {"bfloat16": np.dtype(ml_dtypes.bfloat16)}


def extremes(dtype):
    """The ends of a type's range, and what lies next to 0."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        return np.array([np.iinfo(dtype).min, 0, 1, np.iinfo(dtype).max], dtype)
    if dtype.kind == "c":
        real = extremes(np.zeros(0, dtype).real.dtype)
        return np.concatenate([real.astype(dtype), (real * 1j).astype(dtype)])
    info = np.finfo(dtype) if dtype.kind == "f" else ml_dtypes.finfo(dtype)
    return np.array([info.max, info.min, info.tiny, -info.tiny, info.smallest_subnormal, 0, 1, -0.0], dtype)


def rows(dtype):
    """Every pair of extremes, repeated into a short row and one of several vectors."""
    with np.errstate(all="ignore"):
        values = extremes(dtype)
    return [np.array([a, b], dtype).repeat(times) for a, b in itertools.product(values, values) for times in (1, 30)]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("name", TYPES)
def test_extremes_of_every_type(op, name):
    methods = RUNGS if name in ("float32", "float64") else ("auto", "stable")
    for row in rows(TYPES[name]):
        wide, keep = np.stack([row] * 3, axis=1), np.arange(row.size) > 0
        with np.errstate(invalid="ignore"):
            others = [LAYOUTS[layout](row) for layout in ("every second", "byte-swapped", "unaligned")]
        with np.errstate(all="raise"):
            for method in methods:
                call(op, row, 0, method=method)
            call(op, wide, 0)
            for other in others:
                call(op, other, 0)
            call(op, row, 0, where=keep)
            call(op, row, (), where=keep)
            if op == "logsumexp":
                for b in (-1, 1e308, 5e-324, np.full(row.size, 2, row.dtype)):
                    call(op, row, 0, b=b, return_sign=True)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("name", ["int64", "float16", "float32", "float64", "longdouble", "bfloat16"])
def test_extremes_written_to_a_narrower_type(op, name):
    for row in rows(TYPES[name]):
        with np.errstate(all="raise"):
            for narrow in (ml_dtypes.bfloat16,) if name == "bfloat16" else (np.float16, np.float32, np.complex64):
                call(op, row, 0, out=np.empty(() if op == "logsumexp" else row.shape, narrow))


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
@pytest.mark.parametrize("name", ["int64", "float16", "float32", "float64", "longdouble", "complex128"])
def test_extremes_at_every_temperature(op, name):
    for row in rows(TYPES[name])[::2]:
        with np.errstate(all="raise"):
            for temperature in (-1.0, 1e-3, 1e30, 1e-30, -1e35, 1e-40, 1e300, -1e-300, 1e-310, 1e308, np.inf, -np.inf):
                call(op, row, 0, temperature=temperature)


@pytest.mark.parametrize("method", SAFE)
def test_random_bits(method, rng):
    for dtype, bits in ((np.float32, np.uint32), (np.float64, np.uint64)):
        x = rng.integers(0, np.iinfo(bits).max, (50, 40), bits).view(dtype)
        x = x[np.isfinite(x).all(axis=1)]
        assert len(x) > 20
        with np.errstate(all="raise"):
            for op, axis in itertools.product(OPS, (None, 0, 1)):
                call(op, x, axis, method=method)


def test_a_new_process_imports_and_computes_without_a_warning():
    code = """
    import numpy as np, fastsoftmax
    for dtype in ("f2", "f4", "f8", "g", "F", "i1", "?"):
        x = np.ones((3, 40)).astype(dtype)
        for axis in (None, 0, 1):
            for function in (fastsoftmax.softmax, fastsoftmax.log_softmax, fastsoftmax.logsumexp):
                function(x, axis)
                function(x[:, ::-2], axis)
    fastsoftmax.show_config()
    print("done")
    """
    assert run_python(textwrap.dedent(code)).endswith("done\n")
