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


def plain_bound(op, x, true, n, dtype):
    """Error bound of the textbook shifted forms, in ULP of `true` (Blanchard, Higham and Higham, 2021)."""
    nmant, minexp, _, _ = exactly.limits(dtype)
    finite = x[np.isfinite(x)].astype(np.float64)
    if op == "softmax":
        reach = 4 * min(np.ptp(finite / 4) if finite.size else 0, -minexp / 4)
        return n + 8 + 2 * reach
    # absolute errors: the sum's relative error, the rounding of x - max, of the logarithm and of the result
    with np.errstate(over="ignore", invalid="ignore"):
        return _absolute_bound(op, finite, true, n, nmant, minexp)


def _absolute_bound(op, finite, true, n, nmant, minexp):
    size = np.abs(np.where(np.isfinite(true), true, 0)).astype(np.float64)
    top = np.abs(finite).max() if finite.size else 0
    absolute = n + 8 + 4 * np.log(n + 1) + 4 * size + (4 * top if op == "logsumexp" else 0)
    spacing = np.ldexp(1.0, np.maximum(np.frexp(size)[1] - 1, minexp) - nmant)
    return absolute * 2.0 ** (-nmant - 1) / np.maximum(spacing, 5e-324)


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
    if method in EXACT:
        bound = ULP_GOAL[op]
    else:
        n = int(np.prod([x.shape[a] for a in exactly.normal_axis(x, axis)]))
        n *= 2 if method == "online" else 1  # a rescaling at every step, at worst
        bound = plain_bound(op, x, true, n, dtype)
        if op == "logsumexp":  # `error` is in ulps of 1.0 there
            bound = np.where(np.abs(true) < 1e-3, np.maximum(bound, 2 * n + 32), bound)
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


# -- rows of every kind -------------------------------------------------------------------------------------


def _late_spike(rng, n):
    x = rng.normal(-60, 1, n)
    x[-1 - n // 9] = 40
    return x


def _one_peak(rng, n):
    x = rng.normal(0, 1, n)
    x[n // 2] = 90
    return x


def _masked(rng, n):
    x = rng.normal(0, 5, n)
    x[rng.random(n) < 0.5] = -np.inf
    x[n // 3] = 1.5
    return x


def _huge_and_tiny(rng, n, huge):
    return rng.choice([huge, -huge, 1e-30, -1.0, 0.0, 5.0, huge / 2], n)


def _near_zero_sum(rng, n):
    """Shifted so that logsumexp comes out near 0, where it cancels."""
    x = rng.normal(0, 3, n)
    return x - np.log(np.exp(x).sum()) + rng.normal(0, 0.05)


FAMILIES = {
    **{f"normal*{s}": (lambda rng, n, s=s: rng.normal(0, s, n)) for s in (1, 3, 10, 30, 100, 1000)},
    **{f"normal{o:+g}": (lambda rng, n, o=o: rng.normal(o, 4, n)) for o in (1e4, -1e4, -150, 207, 88, -87, 709)},
    "uniform 2000": lambda rng, n: rng.uniform(-2000, 2000, n),
    "uniform 87": lambda rng, n: rng.uniform(-87, 0, n),
    "ascending": lambda rng, n: np.sort(rng.normal(0, 20, n)),
    "ascending steps": lambda rng, n: np.arange(n) * 0.75,
    "descending": lambda rng, n: np.sort(rng.normal(0, 20, n))[::-1],
    "one peak": _one_peak,
    "late spike": _late_spike,
    "equal": lambda rng, n: np.full(n, rng.normal(0, 40)),
    "zeros": lambda rng, n: np.zeros(n),
    "close tops": lambda rng, n: np.where(rng.random(n) < 0.5, 100.0, 100.0 - 1e-4),
    "one above equals": lambda rng, n: np.where(np.arange(n) == n // 3, rng.uniform(0, 9), 0) + rng.uniform(-3, 3),
    "two levels": lambda rng, n: rng.uniform(-3, 3) - rng.uniform(8, 18) * (rng.random(n) < 0.5),
    "period 64": lambda rng, n: np.tile(np.repeat(rng.uniform(-16, 3, 4), 16), n // 64 + 1)[:n],
    "few values": lambda rng, n: rng.choice(np.append(rng.normal(-9, 4, 20), 0.0), n, p=[*[0.999 / 20] * 20, 0.001]),
    "small differences": lambda rng, n: 1 + rng.normal(0, 1e-6, n),
    "-inf masks": _masked,
    "subnormal": lambda rng, n: rng.choice([1e-310, -1e-310, 1e-40, -1e-42, 0.0, -0.0], n),
    "1e30": lambda rng, n: _huge_and_tiny(rng, n, 1e30),
    "largest": lambda rng, n: _huge_and_tiny(rng, n, 3e38),
    "near 0": _near_zero_sum,
    "far below": lambda rng, n: np.where(np.arange(n) == n // 2, 0.0, -rng.uniform(50, 100, n)),
}
FAMILIES_64 = {
    "1e300": lambda rng, n: _huge_and_tiny(rng, n, 1e300),
    "1.7e308": lambda rng, n: _huge_and_tiny(rng, n, 1.7e308),
}


def family(name, dtype, n, rows=3):
    rng = np.random.default_rng([n, *name.encode()])
    make = FAMILIES.get(name) or FAMILIES_64[name]
    return np.stack([make(rng, n) for _ in range(rows)]).astype(dtype)


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


def start_python(code, *, env=(), package=PACKAGE, path=None, arguments=()):
    """Start Python on a piece of code, or on the file at `path`, with the package under test.

    A variable that is None in `env` is unset.
    """
    changed = {**os.environ, "PYTHONPATH": str(package.parent), **dict(env)}
    return subprocess.Popen(
        [sys.executable, *(("-c", code) if path is None else (str(path),)), *arguments],
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
