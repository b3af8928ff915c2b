"""Races under pytest-benchmark: a group a function, shape and type, a line a contender.

A contender's result is judged before it is timed, and its error goes into ``extra_info``. Ours must be right;
a rival that is wrong is reported as an expected failure instead of being timed.
"""

import functools
import os
import warnings
from dataclasses import asdict

import pytest

from fastsoftmax.compare.accuracy import Truth
from fastsoftmax.compare.contenders import Unsupported, contenders, equal_threads, installed
from fastsoftmax.compare.workloads import OPS, standard

THREADS = int(os.environ.get("FASTSOFTMAX_NUM_THREADS", "1"))
WORKLOADS = {
    workload.name: workload
    for dtype in ("float32", "float64")
    for workload in (
        standard(64, 1000, dtype=dtype),
        standard(1024, 1000, dtype=dtype),
        standard(8, 128_256, dtype=dtype),
        standard(100_000, 10, dtype=dtype),
        standard(1000, 1024, dtype=dtype, axis=0),
        standard(1, 1 << 20, dtype=dtype),
    )
}
CONTENDERS = {contender.name: contender for contender in contenders()}


@functools.cache
def absent():
    """Return the contenders that cannot run here, with the reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a rival warns of on import is its own affair
        return installed(tuple(CONTENDERS.values()))[1]


@functools.cache
def array(name):
    """Return the input of a workload."""
    return WORKLOADS[name].build().array


@functools.lru_cache(1)  # tests come group by group
def truth(op, name):
    """Return what judges results."""
    return Truth(op, array(name), WORKLOADS[name].axis)


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("op", OPS)
def test_race(benchmark, op, name, contender):
    if contender in absent():
        pytest.skip(f"{contender}: {absent()[contender]}")
    racer = CONTENDERS[contender]
    benchmark.group = f"{op}, {name}"
    with equal_threads([racer], THREADS), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call = racer.call(op, array(name), WORKLOADS[name].axis, THREADS)
        except Unsupported as reason:
            pytest.skip(f"{contender}: {reason}")
        found = truth(op, name).judge(call.fetch(call.run()))  # the first call, where it may compile
        if not racer.ours and found.verdict == "wrong":
            pytest.xfail(f"{contender} is wrong: {found.reason}")
        assert found.verdict != "wrong", found.reason

        benchmark.extra_info |= asdict(found) | {"version": racer.version, "threads": THREADS}
        last = benchmark(call.run)
        assert truth(op, name).judge(call.fetch(last)).verdict == found.verdict
