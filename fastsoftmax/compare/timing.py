"""Races: contenders timed in turn, so that a machine that speeds up or slows down does it to all of them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

import numpy as np

SAMPLE_NS = 500_000
"""A sample repeats short calls for about this long, far above the clock's resolution."""
MOST_SHARES = 2
"""A lane that has taken so many times its share of a race sits a lap out, so that fast ones get more samples."""


@dataclass
class Lane:
    """One contender in a race: its call, how often a sample repeats it, the samples (ns per call), what they cost."""

    run: Callable[[], Any]
    loops: int = 1
    spent_ns: int = 0
    samples: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """The fastest sample, ns per call; NaN before the first."""
        return min(self.samples, default=float("nan"))

    @property
    def median(self) -> float:
        """The median sample, ns per call; NaN before the first."""
        return float(np.median(self.samples)) if self.samples else float("nan")


def race(
    lanes: Sequence[Lane],
    seconds: float,
    *,
    least: int = 3,
    most: int = 1000,
    progress: Callable[[float], object] = lambda done: None,
) -> None:
    """Time the lanes in turn until the time is up, each ``least`` to ``most`` times, adding to their samples.

    Behind the least number of laps slow lanes sit some out. Every lane's call must have run once before, so that
    nothing compiled on a first call is timed. An exception, KeyboardInterrupt included, leaves the samples taken so far
    in place. ``progress`` is told the fraction done.
    """
    order = np.random.default_rng(0)  # a new order each lap: none always runs behind the same other one
    start = perf_counter_ns()
    limit = seconds * 1e9
    for lane in lanes:
        lane.loops = _calibrate(lane.run)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for lap in range(most):
            spent = perf_counter_ns() - start
            if lap >= least and spent >= limit:
                break
            progress(min(1.0, spent / limit) if limit else 1.0)
            share = sum(lane.spent_ns for lane in lanes) / max(1, len(lanes))
            for i in order.permutation(len(lanes)):
                if lap < least or lanes[i].spent_ns <= MOST_SHARES * share:
                    _add_sample(lanes[i])
    finally:
        if collecting:
            gc.enable()


def _add_sample(lane: Lane) -> None:
    """Take a sample."""
    start = perf_counter_ns()
    lane.samples.append(_sample(lane.run, lane.loops))
    lane.spent_ns += perf_counter_ns() - start


def _calibrate(run: Callable[[], Any]) -> int:
    """Return how many calls take about `SAMPLE_NS`."""
    for loops in (1, 1, 10):  # the first one finds the caches cold; a single short one is mostly the clock
        each = _sample(run, loops)
        if loops == 1 and each > 4 * SAMPLE_NS:
            return 1
    return max(1, round(SAMPLE_NS / each))


def _sample(run: Callable[[], Any], loops: int) -> float:
    """Return the time of a call in ns, averaged over ``loops`` calls; never 0."""
    repeat = range(loops)
    run()  # what another lane left in the caches must not count
    start = perf_counter_ns()
    for _ in repeat:
        run()
    return max(1, perf_counter_ns() - start) / loops
