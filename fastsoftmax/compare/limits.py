"""What no implementation can beat on this machine: the time to move the data, and that of e^x alone.

softmax and log_softmax read every element and write one; logsumexp only reads; all need at least one e^x an
element. The slower of the two, memory and e^x, is the limit. It is a limit for this package's e^x: a less exact
one, or an approximate one, may take less.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from time import perf_counter_ns
from typing import Any

import numpy as np

from fastsoftmax.compare.contender import Array
from fastsoftmax.compare.workloads import Op

_BLOCK = 2048  # elements: in the nearest cache
_WORTH_THREADS = 1 << 20  # bytes


@dataclass
class Limits:
    """The limits of one race, in ns a call."""

    copy_ns: float
    """Copying the input to an array of its size that is already there."""
    read_ns: float
    """Reading the input."""
    exp_ns: float
    """e^x of as many elements in the nearest cache, shared by the threads."""

    def of(self, op: Op | str) -> float:
        """Return the limit of a function."""
        return max(self.read_ns if op == "logsumexp" else self.copy_ns, self.exp_ns)


def movers(x: Array, threads: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return two calls to time: one that copies the array, one that reads it; on as many threads where that pays."""
    flat = x.reshape(-1).view(f"i{x.itemsize}")  # integers: no NaN to look for
    there = np.zeros_like(flat)
    if threads == 1 or x.nbytes < _WORTH_THREADS:
        return lambda: np.copyto(there, flat), flat.max
    pool = ThreadPoolExecutor(threads)
    sources, targets = np.array_split(flat, threads), np.array_split(there, threads)
    return (
        lambda: list(pool.map(np.copyto, targets, sources)),
        lambda: list(pool.map(np.max, sources)),
    )


@cache
def exponential_ns(dtype: str) -> float:
    """Return the time of e^x alone, ns per element; float16 and bfloat16 are computed as float32."""
    from fastsoftmax.kernels.exponential_alone import sum_repeatedly

    computed = np.dtype("float64" if dtype == "float64" else "float32")
    x = np.linspace(-10, 10, _BLOCK, dtype=computed)
    out = np.zeros(1, computed)
    passes = 64
    times = []
    for _ in range(100):
        start = perf_counter_ns()
        sum_repeatedly[computed](x, out, passes)
        times.append(perf_counter_ns() - start)
    return min(times) / (passes * _BLOCK)
