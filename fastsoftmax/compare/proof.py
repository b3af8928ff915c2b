"""How far e^x errs: float32 by trying every argument, float64 by trying very many.

What is tried is the code the kernels are made of: e^x = 2^f · 2^n, of which 2^f, between 0.7 and 1.5, is compared, for
float64 in the unit that it comes in (`exponential.py`). Its bits are the same for every pivot, since a pivot changes n
alone. So these errors are those of e^x in all rows.

The truth is e^(x - n·ln2) in the next wider type. The product with the first part of ln 2 and the difference are exact,
so it is good to 2^-50 for float32 (the C library's exp errs by less than an ULP) and to 2^-62 for float64 (that of long
double: 2 ULP). That is less than a millionth, and a two-hundredth, of an ULP of what is judged.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastsoftmax
from fastsoftmax.jit import inline, kernel
from fastsoftmax.kernels.exponential import DOUBLE_UNIT, LN2_HIGH, LN2_LOW, log2e_over
from fastsoftmax.kernels.pivot import MAX_PIVOT
from fastsoftmax.kernels.two_pass import in_two_parts
from fastsoftmax.simd import lanes, load, store

Array = NDArray[Any]
Progress = Callable[[float], object]

LARGEST = (MAX_PIVOT - 1) * math.log(2)  # the largest |x| for which e^x · 2^-pivot is computed
BOUND = 1.0  # ULP
BLOCK = 1 << 12  # arguments tried at once: what comes of them stays in the nearest cache
RUN = 1 << 18  # neighbours tried in one call

# Some of the arguments whose e^x is hardest to round correctly to float64 (V. Lefèvre & J.-M. Muller, Worst cases for
# correct rounding of the elementary functions in double precision, ARITH 15, 2001; the CORE-MATH project's tests).
HARD_TO_ROUND = tuple(
    map(
        float.fromhex,
        (
            "0x1.fffffffffffffp-53", "0x1.ba07d73250de7p-14", "0x1.6a4d1af9cc989p-8", "0x1.42ea46949b3c7p-5",
            "0x1.0948d39a41695p-3", "0x1.1a0408712e00ap-2", "0x1.005ae04256babp-1", "0x1.273c188aa7b14p+2",
            "0x1.83d4bcdebb3f4p+2", "0x1.08f51434652c3p+4", "0x1.1d5c2daebe367p+4", "0x1.c44ce0d716a1ap+4",
            "0x1.54cd1fea7663ap+7", "0x1.d6479eba7c971p+8", "-0x1.664716b68a409p-14", "-0x1.33accae78b371p-11",
            "-0x1.1ff9b8e8b38bep-7", "-0x1.a8f783d749a8fp-4", "-0x1.ea16274b0109bp-3", "-0x1.22e24fa3d5cf9p-1",
            "-0x1.2a9cad9998262p+0", "-0x1.02393d5976769p+1", "-0x1.e8bdbfcd9144ep+3", "-0x1.59f038076039cp+6",
        ),
    )
)  # fmt: skip


@dataclass
class Finding:
    """What came of trying e^x of one type at many arguments.

    Attributes
    ----------
    dtype : str
        The type.
    arguments : str
        Which were tried.
    tried : int
        How many.
    worst_ulp, worst_at : float
        The largest error of e^x, rounded to the type, in ULP; and where.
    parts_bits : float
        The two parts that sums are made of err by 2 to this power at most, relatively.
    falls : int or None
        Neighbours x < y with e^x > e^y. None where the arguments are no neighbours.
    seconds : float
        How long it took.
    """

    dtype: str
    arguments: str
    tried: int = 0
    worst_ulp: float = 0.0
    worst_at: float = math.nan
    parts_bits: float = -math.inf
    falls: int | None = None
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether no error exceeded `BOUND`."""
        return self.worst_ulp <= BOUND

    def record(self) -> dict[str, Any]:
        """Return the finding for JSON."""
        return {**asdict(self), "bound_ulp": BOUND, "holds": self.holds}

    def add(self, other: Finding) -> None:
        """Take in what came of other arguments."""
        self.tried += other.tried
        if other.worst_ulp > self.worst_ulp or math.isnan(other.worst_ulp):
            self.worst_ulp, self.worst_at = other.worst_ulp, other.worst_at
        self.parts_bits = max(self.parts_bits, other.parts_bits)
        if self.falls is not None:
            self.falls += other.falls or 0


@inline
def take_apart(x, e, large, small, n):  # type: ignore[no-untyped-def]
    """Write e^x = e · 2^n, and e as a large and a small part; the length is a multiple of a vector's."""
    high, low = log2e_over(x, 1.0)
    for i in range(0, x.size, lanes(x)):
        e_vector, large_vector, small_vector, n_vector = in_two_parts(x, load(x, i), high, low)
        store(e, i, e_vector)
        store(large, i, large_vector)
        store(small, i, small_vector)
        store(n, i, n_vector)


@kernel("in", "out", "out", "out", "out")
def exponentials(x, e, large, small, n):  # type: ignore[no-untyped-def]
    """Do `take_apart`."""
    take_apart(x, e, large, small, n)


@kernel("out", "out", "out", "out", "out", "int", "int", "int", "reals")
def try_float32(x, e, large, small, n, first, last, sign, found):  # type: ignore[no-untyped-def]
    """Try the float32 whose bits are from first to last; the other arrays hold a block of them.

    What is found are the worst error in ULP and where, that of the two parts, and how many neighbours are out of order.
    """
    worst, worst_at, worst_parts, falls = 0.0, 0.0, 0.0, 0
    before, n_before = 0.0, math.nan
    for start in range(first, last, x.size):
        for i in range(x.size):
            x[i] = np.uint32((start + i) | sign).view(np.float32)
        take_apart(x, e, large, small, n)
        for i in range(min(x.size, last - start)):
            value, step = np.float64(e[i]), np.float64(n[i])
            true = math.exp((x[i] - step * LN2_HIGH) - step * LN2_LOW)
            error = abs(value - true) * (2.0**24 if true < 1.0 else 2.0**23)
            if not error <= worst:
                worst, worst_at = error, x[i]
            worst_parts = max(worst_parts, abs((np.float64(large[i]) + small[i]) - true) / true)
            # n changes by 1 at most from one to the next: 2 to that power is 1 more
            if sign:
                falls += before * (1.0 + (n_before - step)) < value
            else:
                falls += value * (1.0 + (step - n_before)) < before
            before, n_before = value, step
    found[0], found[1], found[2], found[3] = worst, worst_at, worst_parts, falls


def every_float32(stride: int = 1, progress: Progress = lambda done: None) -> Finding:
    """Try e^x at every float32 from -`LARGEST` to `LARGEST`, about 2.4 billion, or at one in `stride`.

    Parameters
    ----------
    stride : int
        1 proves the bound. Larger ones take a sample, in runs of neighbours.
    progress : callable
        Is told how much is done, from 0 to 1.

    Returns
    -------
    Finding
        With the number of neighbours that are out of order.
    """
    what = "every one" if stride == 1 else f"one in {stride}"
    finding = Finding("float32", f"{what} from {-LARGEST:.0f} to {LARGEST:.0f}", falls=0)
    end = int(np.float32(LARGEST).view(np.uint32)) + 1
    runs = [(start, min(start + RUN, end), sign) for sign in (0, 1 << 31) for start in range(0, end, RUN * stride)]

    def try_run(run: tuple[int, int, int]) -> Finding:
        start, stop, sign = run
        first = max(start - 1, 0)  # the last of the run before, so that no pair of neighbours is missed
        scratch = (np.empty(BLOCK, np.float32) for _ in range(5))
        found = np.zeros(4)
        try_float32[np.dtype(np.float32)](*scratch, first, stop, sign, found)
        worst, worst_at, parts, falls = found.tolist()
        return Finding("", "", stop - start, worst, worst_at, math.log2(parts) if parts else -math.inf, int(falls))

    return _try(finding, try_run, runs, len(runs), progress)


def many_float64(count: int = 10**8, seed: int = 0, progress: Progress = lambda done: None) -> Finding:
    """Try e^x at float64 arguments: random ones, those that are hard to round, and where the arithmetic has seams.

    Parameters
    ----------
    count : int
        Random arguments: a third each of them uniform in [-750, 750], normal, and of any size from 2^-60 to `LARGEST`.
    seed : int
        Of the random numbers.
    progress : callable
        Is told how much is done, from 0 to 1.

    Returns
    -------
    Finding
    """
    finding = Finding("float64", f"{count:,} random ones, hard ones, and all seams")
    rounds = -(-count // (3 * BLOCK))

    def blocks() -> Iterator[Array]:
        yield np.array(HARD_TO_ROUND)
        yield from np.array_split(seams(), 32)
        rng = np.random.default_rng(seed)
        for _ in range(rounds):
            yield rng.uniform(-750, 750, BLOCK)
            yield rng.standard_normal(BLOCK)
            size = np.exp2(rng.uniform(-60, math.log2(LARGEST), BLOCK))
            yield np.where(rng.random(BLOCK) < 0.5, size, -size)

    return _try(finding, _try_float64, blocks(), 3 * rounds + 33, progress)


def seams() -> Array:
    """Return float64 next to where x·log2(e) is rounded up or down to another eighth, of normal e^x."""
    middle = (np.arange(-8 * 1022, 8 * 1024) + 0.5) * (math.log(2) / 8)
    steps = np.array([-1000, -30, -2, -1, 0, 1, 2, 30, 1000])
    result: Array = np.sort((middle[:, None] + steps * np.spacing(np.abs(middle))[:, None]).ravel())
    return result


def _try(
    finding: Finding, attempt: Callable[[Any], Finding], arguments: Iterable[Any], count: int, progress: Progress
) -> Finding:
    """Make all attempts, as many at a time as there are threads, and add up what came of them."""
    start = time.perf_counter()
    threads = fastsoftmax.get_num_threads()
    arguments, done = iter(arguments), 0
    with ThreadPoolExecutor(threads) as pool:
        while batch := list(islice(arguments, 8 * threads)):
            for found in pool.map(attempt, batch):
                finding.add(found)
            done += len(batch)
            progress(min(done / count, 1.0))
    finding.seconds = time.perf_counter() - start
    return finding


def _try_float64(x: Array) -> Finding:
    """Try the arguments of a block."""
    count = x.size
    x = np.append(x, np.zeros(-count % 8))  # whole vectors
    e, large, small, n = (np.empty_like(x) for _ in range(4))
    exponentials[x.dtype](x, e, large, small, n)
    true = np.exp((x - n * LN2_HIGH) - n * np.longdouble(LN2_LOW)) * DOUBLE_UNIT
    error = np.abs(e - true) * np.where(true < 1, 2.0**53, 2.0**52)
    parts = float((np.abs((large.astype(np.longdouble) + small) - true) / true).max())
    worst = int(error.argmax())
    return Finding("", "", count, float(error[worst]), float(x[worst]), math.log2(parts) if parts else -math.inf)
