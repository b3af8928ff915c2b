"""How much faster more threads are: the same races with one thread each, with two, with four, and so on.

Each number of threads has a process of its own, with as many CPUs, since libraries count these when they are imported.
And here they are timed one after the other, not in turn: threads that wait for work keep CPUs busy for a while.
What is timed is the call into a result that is already there, where a library can: the system's clearing of new memory
is another matter. Results are not judged here: `fastsoftmax compare` does that.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fastsoftmax.compare import lab
from fastsoftmax.compare.contenders import Unsupported, contenders, equal_threads, installed, pin
from fastsoftmax.compare.report import best_other
from fastsoftmax.compare.results import Result, Row, Table
from fastsoftmax.compare.timing import Lane, race
from fastsoftmax.compare.workloads import OPS, Op, Workload, from_file, standard

WORKLOADS = (
    standard(1024, 1000),
    standard(16384, 1000),
    standard(1, 1 << 21, ops=("softmax",)),
    standard(1, 1 << 24),
    standard(200_000, 10),
    standard(4096, 4096, axis=0),
    standard(4096, 1000, dtype="float64"),
)
RUNGS = ("auto",)
SLOW = ("numpy", "logaddexp", "numexpr", "numba by hand")
"""Peers that are never the best, and take long."""
SECONDS = 1.2
"""How long all of them are timed on one input."""
REST = 0.05
"""Seconds before each, for the threads of the one before to fall asleep."""


def thread_counts(most: int) -> list[int]:
    """Return 1, 2, 4 and so on, and the largest number."""
    return sorted({1 << k for k in range(most.bit_length())} | {most})


def run(counts: Sequence[int], path: str = "", axis: int = -1, op: Op | None = None) -> Iterator[Result]:
    """Yield the result of each number of threads, measured in a process of its own.

    Parameters
    ----------
    counts : sequence of int
        The numbers of threads.
    path : str, optional
        A .npy file to race on, in place of the built-in inputs.
    axis : int, optional
        Its axis to reduce.
    op : str, optional
        One function only.

    Raises
    ------
    ChildProcessError
        If such a process fails; with what it wrote last.
    """
    for threads in counts:
        command = [sys.executable, "-m", __name__, str(threads), path, str(axis), op or ""]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ChildProcessError((done.stderr.strip() or "no message").splitlines()[-1])
        yield Result.from_json(done.stdout)


def measure(threads: int, workloads: Sequence[Workload], ops: Sequence[Op] = OPS, seconds: float = SECONDS) -> Result:
    """Race everyone with so many threads, in this process."""
    pin(threads)
    racers, skipped = installed([one for one in contenders(RUNGS) if one.name not in SLOW])
    result = lab.new_result(lab.Plan(workloads, racers, threads), skipped)
    with equal_threads(racers, threads), np.errstate(all="ignore"):
        for workload in workloads:
            source = workload.build()
            for op in (op for op in ops if op in workload.ops):
                table = lab.empty_table(workload, op, source)
                lanes = []
                for racer in racers:
                    try:
                        call = racer.call(op, source.array, workload.axis, threads)
                    except Unsupported:
                        continue
                    lane = Lane(call.reuse or call.run)
                    lane.run()  # the first call is nobody's measure
                    lanes.append(lane)
                    table.rows.append(Row(racer.name, racer.ours))
                for row, lane in zip(table.rows, lanes, strict=True):
                    time.sleep(REST)
                    race([lane], seconds / len(lanes))
                    row.best_ns, row.median_ns = lane.best, lane.median
                    row.samples, row.loops = len(lane.samples), lane.loops
                result.tables.append(table)
    return result


def lines(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of a table: our times with each number of threads, and how they compare.

    Parameters
    ----------
    results : sequence of Result
        Of one or more numbers of threads, in their order.

    Returns
    -------
    heads : list of str
    rows : list of list of str
        The first two of each are the input and the function.
    """
    most = results[-1].threads
    heads = ["input", "function", *(f"{result.threads}" for result in results)]
    heads += [f"x 1 at {most}", f"best other at {most}", "x best other"]
    return heads, [_line([result.tables[i] for result in results]) for i in range(len(results[-1].tables))]


def _line(tables: Sequence[Table]) -> list[str]:
    """Return a row of the table."""
    last = tables[-1]
    ours = [row for table in tables for row in table.rows if row.ours]
    each = [last.ns_per_element(row) or math.nan for row in ours]
    rival = best_other(last)
    lead = last.times_faster_than(rival.contender, ours[-1]) if rival else None
    return [
        last.workload,
        last.op,
        *(f"{ns:.3f}" for ns in each),
        f"{each[0] / each[-1]:.1f}",
        rival.contender if rival else "-",
        f"{lead:.2f}" if lead else "-",
    ]


def to_json(results: Sequence[Result]) -> str:
    """Return results as JSON."""
    return json.dumps([json.loads(result.to_json()) for result in results], indent=1) + "\n"


def load(path: str | Path) -> list[Result]:
    """Read what `to_json` wrote; raise ValueError for anything else."""
    saved = json.loads(Path(path).read_text("utf-8"))
    if not isinstance(saved, list) or not saved:
        raise ValueError("not a result of this package: no list of results")
    return [Result.from_json(json.dumps(one)) for one in saved]


def main(arguments: Sequence[str]) -> None:
    """Measure one number of threads, and print the result as JSON."""
    threads, path, axis, op = arguments
    workloads = (from_file(path, int(axis)),) if path else WORKLOADS
    ops = tuple(one for one in OPS if op in ("", one))
    print(measure(int(threads), workloads, ops).to_json())


if __name__ == "__main__":
    main(sys.argv[1:])
