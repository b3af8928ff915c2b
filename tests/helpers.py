"""What the tests share: the functions, the rungs, the bounds, arrays in every layout, processes."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import exactly
import numpy as np

import fastsoftmax
from fastsoftmax.compare import exact
from fastsoftmax.compare.families import FAMILIES, FAMILIES_64, family  # noqa: F401 - for all tests

OPS = ("softmax", "log_softmax", "logsumexp")
FLOATS = (np.float32, np.float64)
RUNGS = tuple(rung.name for rung in fastsoftmax.methods())
SAFE = tuple(rung.name for rung in fastsoftmax.methods() if rung.stable)
EXACT = tuple(name for name in ("auto", "two_pass", "parallel") if name in SAFE)
ULP_GOAL = {"softmax": 2, "log_softmax": 2, "logsumexp": 1}


def call(op, x, axis=-1, **keywords):
    return getattr(fastsoftmax, op)(x, axis, **keywords)


def error_of(op, got, true):
    return exactly.ulp_of_one(got, true) if op == "logsumexp" else exactly.ulp(got, true)


def error_bound(op, method, x, true, n, dtype):
    """Error bound of a method in ULP of `true`, for rows of n elements; as `kernels/textbook.py` has it."""
    if method in EXACT:
        return ULP_GOAL[op]
    info = np.finfo(dtype)
    n = 2 * n if method == "online" else n
    finite = x[np.isfinite(x)].astype(np.float64)
    if op == "softmax":
        vanishing = -np.log(info.tiny)  # a larger range makes no larger error: the result is 0
        span = 0 if method == "naive" or not finite.size else 4 * min(np.ptp(finite / 4), vanishing / 4)
        return n + 8 + 2 * span  # an ULP is one or two units of roundoff
    top = np.abs(finite).max(initial=0) if op == "logsumexp" else 0
    with np.errstate(over="ignore"):
        size = np.abs(np.where(np.isfinite(true), true, 0)).astype(np.float64)
        unit = exact.spacing(true, dtype, near_zero=exact.NEAR_ZERO[op]).astype(np.float64)
        return (n + 8 + 4 * np.log(n + 1) + 4 * size + 4 * top) * (info.eps / 2) / unit


def assert_exact(op, x, axis, got, method="auto", *, where=None, true=None, note=""):
    """`got` is op(x, axis) within the bound of `method`, in the right type and shape."""
    x = np.asarray(x)
    if true is None:
        true = exactly.exact(op, x, axis, where=where)
    assert np.shape(got) == true.shape, note
    got = np.asarray(got)
    dtype = np.dtype(np.float64) if x.dtype.kind in "biu" else x.dtype.newbyteorder("=")
    assert got.dtype == dtype, (got.dtype, dtype, note)
    if not got.size:
        return
    error = error_of(op, got, true)
    bound = error_bound(op, method, x, true, int(np.prod([x.shape[a] for a in exactly.normal_axis(x, axis)])), dtype)
    worst = np.unravel_index(np.argmax(error - bound), error.shape)
    assert (error <= bound).all(), (
        f"{note} {op} {method} {dtype}: {error[worst]:.4g} ULP at {worst}, got {got[worst]!r}, true {true[worst]!r}"
    )


def same_bits(got, expected):
    """Equal to the last bit, signs of zero included; NaNs are alike."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.signbit(got) & ~np.isnan(got), np.signbit(expected) & ~np.isnan(expected))


# -- arrays in every layout ---------------------------------------------------------------------------------


def _strided(x):
    big = np.full([2 * s + 1 for s in x.shape], np.nan, x.dtype)
    view = big[(..., *(slice(1, 2 * s + 1, 2) for s in x.shape))]
    view[...] = x
    return view


def _unaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    view = raw[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def _read_only(x):
    view = x.copy()
    view.flags.writeable = False
    return view


def _padded(x):
    big = np.full([s + 3 for s in x.shape], np.nan, x.dtype)
    view = big[(..., *(slice(2, s + 2) for s in x.shape))]
    view[...] = x
    return view


LAYOUTS = {
    "C": lambda x: np.array(x, order="C"),
    "Fortran": lambda x: np.array(x, order="F"),
    "swapped axes": lambda x: np.swapaxes(np.swapaxes(x, 0, -1).copy(), 0, -1) if x.ndim > 1 else x.copy(),
    "negative": lambda x: x[(slice(None, None, -1),) * x.ndim].copy()[(..., *(slice(None, None, -1),) * x.ndim)],
    "negative last": lambda x: np.flip(np.flip(x, -1).copy(), -1) if x.ndim else x.copy(),
    "every second": _strided,
    "padded": _padded,
    "unaligned": _unaligned,
    "read-only": _read_only,
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder("S")),
}
WRITABLE = [name for name in LAYOUTS if name != "read-only"]

# -- processes ----------------------------------------------------------------------------------------------

PACKAGE = Path(fastsoftmax.__file__).parent


# Warnings are errors in children too, but for one of CPython's, of forks in a process with threads: some tests fork.
STRICT = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")


def start_python(code, *, env=(), package=PACKAGE, path=None, arguments=()):
    """Start Python on a piece of code, or on the file at `path`, with the package under test, warnings being errors.

    A variable that is None in `env` is unset.
    """
    changed = {**os.environ, "PYTHONPATH": str(package.parent), **dict(env)}
    return subprocess.Popen(
        [sys.executable, *STRICT, *(("-c", code) if path is None else (str(path),)), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in changed.items() if value is not None},
        cwd=package.parent,
        start_new_session=True,  # a group of its own, so that children which hang go with it
    )


def output_of(process, timeout=120):
    """What a process prints, when it has ended well."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError, AttributeError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.communicate()
    assert process.returncode == 0, f"exit status {process.returncode}\n{out}\n{err}"
    return out


def run_python(code, **options):
    return output_of(start_python(code, **options))
