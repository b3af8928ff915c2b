"""Who and what is timed in one race, lap by lap, and what its table learns from it.

Beside each contender's plain call there are

- *reused*: the same into a result that is already there, which spares the system's clearing of new pages;
- *cold*: the plain call on inputs in rotation, so many that each has left the caches when its turn comes;
- the *limits*: the data copied, the data read (see `limits`);
- a *twin*: one contender's plain call once more. How far the two differ is the noise of the race;
- the *pace*: a work that is always the same. Where it varies the machine does.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from fastsoftmax.compare import limits, statistics
from fastsoftmax.compare.contender import Array, Call, Contender
from fastsoftmax.compare.results import Row, Table
from fastsoftmax.compare.timing import Lane, race
from fastsoftmax.compare.workloads import Op

MOST_COPIES = 256
_PACE = range(5000)


class Lineup:
    """The lanes of one race.

    Parameters
    ----------
    table : Table
        The table whose figures the race finds.
    op : {"softmax", "log_softmax", "logsumexp"}
        The function.
    x : ndarray
        Its input.
    threads : int
        How many each may use.
    """

    def __init__(self, table: Table, op: Op, x: Array, threads: int) -> None:
        self._table, self._op, self._threads = table, op, threads
        self._inputs = [x, *(x.copy() for _ in range(copies_to_leave_the_cache(x.nbytes) - 1))]
        self._turn = count()
        self._lanes: dict[tuple[str, str], Lane] = {}
        copy, read = limits.movers(x, threads)
        self._add("", "copy", copy)
        self._add("", "read", read)
        self._add("", "pace", lambda: sum(_PACE))

    def enter(self, contender: Contender, call: Call) -> None:
        """Add the lanes of a contender that has been found able; the first one has a twin."""
        if not any(kind == "twin" for _, kind in self._lanes):
            self._add(contender.name, "twin", call.run)
        self._add(contender.name, "plain", call.run)
        if call.reuse is not None:
            self._add(contender.name, "reused", call.reuse)
        if len(self._inputs) > 1:
            calls = [contender.call(self._op, x, self._table.axis, self._threads).run for x in self._inputs[1:]]
            self._add(contender.name, "cold", self._in_rotation([call.run, *calls]))

    def race(self, seconds: float, progress: Callable[[float], object]) -> None:
        """Time all lanes; whatever interrupts it, the table has what was measured."""
        try:
            race(list(self._lanes.values()), seconds, progress=progress)
        finally:
            self._write()

    def _add(self, contender: str, kind: str, run: Callable[[], Any]) -> None:
        run()  # the first call is nobody's measure
        self._lanes[contender, kind] = Lane(run)

    def _in_rotation(self, calls: list[Callable[[], Any]]) -> Callable[[], Any]:
        """Return a call on the input whose turn is the longest ago, whoever had it."""
        turn, n = self._turn, len(calls)
        return lambda: calls[next(turn) % n]()

    def _write(self) -> None:
        """Fill in the table and its rows."""
        samples = {key: lane.samples for key, lane in self._lanes.items()}
        table = self._table
        if not all(samples.values()):
            return
        for row in table.rows:
            self._write_row(row)
        table.wobble = statistics.wobble(samples["", "pace"])
        table.limits = limits.Limits(
            copy_ns=min(samples["", "copy"]),
            read_ns=min(samples["", "read"]),
            exp_ns=limits.exponential_ns(table.dtype) * table.elements / self._threads,
        )
        for name, kind in samples:
            if kind == "twin":
                table.noise = statistics.noise(samples[name, "plain"], samples[name, "twin"])

    def _write_row(self, row: Row) -> None:
        lane = self._lanes.get((row.contender, "plain"))
        if lane is None:
            return
        row.best_ns, row.median_ns = lane.best, lane.median
        row.median_low_ns, row.median_high_ns = statistics.median_interval(lane.samples)
        row.samples, row.loops = len(lane.samples), lane.loops
        for kind in ("reused", "cold"):
            other = self._lanes.get((row.contender, kind))
            if other is not None:
                setattr(row, f"{kind}_ns", other.best)


def copies_to_leave_the_cache(nbytes: int) -> int:
    """Return how many arrays of this size are twice the largest cache together; 1 if one alone is."""
    wanted = 2 * largest_cache()
    return 1 if nbytes >= wanted else min(MOST_COPIES, -(-wanted // nbytes))


def largest_cache() -> int:
    """Return the size of the largest cache in bytes; 32 MiB where the system does not tell."""
    sizes = [path.read_text("utf-8").strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("*/size")]
    units = {"K": 1 << 10, "M": 1 << 20}
    return max((int(size[:-1]) * units[size[-1]] for size in sizes if size[-1:] in units), default=32 << 20)
