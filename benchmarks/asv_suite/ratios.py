"""Our time over a rival's, measured in one process, in turn: it survives a change of machine.

Older commits of the package run this, too: it uses only what `fastsoftmax.compare` has had from the beginning.
"""

import ctypes
import functools

import numpy as np

import fastsoftmax
from fastsoftmax.compare.contenders import contenders, equal_threads
from fastsoftmax.compare.timing import Lane, race

from .problems import DTYPES, SHAPES, compile_all, rows

RIVALS = ("scipy", "numpy")
SECONDS = 0.5
SIZES = {"in cache": (64, 1000), "beyond the cache": (16_384, 1024)}
LAPS = 20  # at least: the best of fewer is not the best on a busy machine


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's <malloc.h>


def keep_pages():
    """Have malloc keep what is freed: else what a large result costs is mostly new pages, at the system's mood."""
    mallopt = getattr(ctypes.pythonapi, "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 * 2**20)  # the most it takes
        mallopt(M_TRIM_THRESHOLD, 2**30)


def ratio(op, rival, shape, dtype):
    """Return the best time of method "auto" over the best time of a rival, on one thread each."""
    sizes, axis = SHAPES[shape]
    x = rows(*sizes, dtype=dtype, axis=axis)
    keep_pages()
    records = {record.name: record for record in contenders(["auto"])}
    pair = [records["fastsoftmax auto"], records[rival]]
    with equal_threads(pair, 1):
        lanes = [Lane(record.prepare(op, x, axis, 1).run) for record in pair]
        for lane in lanes:
            lane.run()
        race(lanes, SECONDS, least=LAPS)
    return lanes[0].best / lanes[1].best


def over_copy(op, size, dtype):
    """Return our best time into an array that is there over that of numpy.copyto of the same input."""
    x = rows(*SIZES[size], dtype=dtype)
    there = np.zeros_like(x)
    keywords = {} if op == "logsumexp" else {"out": np.zeros_like(x)}
    call = functools.partial(getattr(fastsoftmax, op), x, axis=-1, **keywords)
    with equal_threads([], 1):
        lanes = [Lane(call), Lane(functools.partial(np.copyto, there, x))]
        for lane in lanes:
            lane.run()
        race(lanes, SECONDS, least=LAPS)
    return lanes[0].best / lanes[1].best


class Ratio:
    """Speed against a rival; 0.25 is four times faster. Both allocate their results, from pages that are there."""

    version = "2"
    unit = "x its time"
    params = (RIVALS, tuple(SHAPES), DTYPES)
    param_names = ("rival", "shape", "dtype")

    def setup_cache(self):
        compile_all(("auto",))

    setup_cache.timeout = 600

    def track_softmax(self, rival, shape, dtype):
        return ratio("softmax", rival, shape, dtype)

    def track_log_softmax(self, rival, shape, dtype):
        return ratio("log_softmax", rival, shape, dtype)

    def track_logsumexp(self, rival, shape, dtype):
        return ratio("logsumexp", rival, shape, dtype)


class OverCopy:
    """Speed against copying the input; 1 is the speed of memory, and under it nothing but logsumexp can come."""

    version = "1"
    unit = "x the time of a copy"
    params = (tuple(SIZES), DTYPES)
    param_names = ("size", "dtype")

    def setup_cache(self):
        compile_all(("auto",))

    setup_cache.timeout = 600

    def track_softmax(self, size, dtype):
        return over_copy("softmax", size, dtype)

    def track_log_softmax(self, size, dtype):
        return over_copy("log_softmax", size, dtype)

    def track_logsumexp(self, size, dtype):
        return over_copy("logsumexp", size, dtype)
