"""What the benchmarks compute: shapes, types and rungs, and calls that are ready to time."""

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np

import fastsoftmax

OPS = ("softmax", "log_softmax", "logsumexp")
RUNGS = tuple(rung.name for rung in fastsoftmax.methods())
DTYPES = ("float32", "float64")

# One shape a class of work, with the axis that is reduced.
SHAPES = {
    "rows of 10": ((10_000, 10), -1),
    "rows of 128": ((1000, 128), -1),
    "rows of 1000 in cache": ((64, 1000), -1),
    "rows of 1000": ((1024, 1000), -1),
    "rows of 128256": ((8, 128_256), -1),
    "5000 rows of 1000": ((5000, 1000), -1),
    "one row of 2^20": ((1, 1 << 20), -1),
    "columns of 20": ((20, 10_000), 0),
    "columns of 1000": ((1000, 1024), 0),
    "10 columns of 10000": ((10_000, 10), 0),
    "5 columns of 200000": ((200_000, 5), 0),
}

# Numba takes half a second to get going: once, in the process that the measurements are forks of.
fastsoftmax.softmax(np.ones(2))


@functools.cache
def problem(op: str, rung: str, shape: str, dtype: str) -> Callable[[], Any]:
    """Return a call that has already run once, so that nothing is compiled or allocated when it is timed."""
    sizes, axis = SHAPES[shape]
    x = rows(*sizes, dtype=dtype, axis=axis)
    function = getattr(fastsoftmax, op)
    keywords = {"axis": axis, "method": rung}
    if op != "logsumexp":
        keywords["out"] = np.zeros_like(x)  # of pages that are already there
    fastsoftmax.set_num_threads(threads(rung))
    call = functools.partial(function, x, **keywords)
    call()
    return call


def threads(rung: str) -> int:
    """Return the threads of a rung: one, which varies least, except where threads are the point."""
    return os.cpu_count() or 1 if rung == "parallel" else 1


def rows(*shape: int, dtype: str = "float32", axis: int = -1) -> np.ndarray:
    """Return normal numbers whose spread differs from row to row, so that some rows are peaked."""
    x = np.moveaxis(np.random.default_rng(0).standard_normal(shape, np.float32), axis, -1)
    x *= np.resize(np.array([1, 3, 10], np.float32), x.shape[:-1])[..., None]
    return np.ascontiguousarray(np.moveaxis(x, -1, axis), dtype)


def compile_all(rungs: tuple[str, ...] = RUNGS, dtypes: tuple[str, ...] = DTYPES) -> None:
    """Compile what is about to be timed; the package keeps it on disk for the processes that follow."""
    for op in OPS:
        for rung in rungs:
            for shape in SHAPES:
                for dtype in dtypes:
                    problem(op, rung, shape, dtype)
    problem.cache_clear()
