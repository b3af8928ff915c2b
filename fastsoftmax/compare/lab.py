"""The whole experiment: every workload, every function, every contender; checked, raced and written down."""

from __future__ import annotations

import datetime
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fastsoftmax.compare import real, results
from fastsoftmax.compare.accuracy import Truth
from fastsoftmax.compare.contenders import Call, Contender, Unsupported, equal_threads
from fastsoftmax.compare.lineup import Lineup
from fastsoftmax.compare.workloads import Op, Workload

# (tables done, of how many, what is being done)
Progress = Callable[[float, int, str], object]


@dataclass(frozen=True)
class Plan:
    """What to compare, on how many threads, and how long to time each table."""

    workloads: Sequence[Workload]
    contenders: Sequence[Contender]
    threads: int = 1
    ops: Sequence[Op] = ("softmax", "log_softmax", "logsumexp")
    seconds_a_table: float = 1.0

    @property
    def races(self) -> list[tuple[Workload, Op]]:
        """The tables, workload by workload."""
        return [(workload, op) for workload in self.workloads for op in self.ops if op in workload.ops]


def new_result(plan: Plan, skipped: dict[str, str]) -> results.Result:
    """Return a result without tables: the machine, versions and conditions of this run."""
    versions = {contender.library: contender.version for contender in plan.contenders}
    for library in ("numpy", "numba", "llvmlite"):
        versions.setdefault(library, importlib.metadata.version(library))
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return results.Result(results.machine(), versions, plan.threads, now, skipped)


def run(plan: Plan, result: results.Result, progress: Progress = lambda done, of, text: None) -> None:
    """Fill the result table by table. Whatever interrupts it, what was measured so far is in the result."""
    races = plan.races
    with equal_threads(plan.contenders, plan.threads), np.errstate(all="ignore"):
        for i, (workload, op) in enumerate(races):
            title = f"{workload.name}, {op}"
            progress(i, len(races), f"{title}: making the input")
            source = workload.build()
            table = empty_table(workload, op, source)
            result.tables.append(table)

            def tell(done: float, text: str, i: int = i, title: str = title) -> None:
                progress(i + min(done, 0.99), len(races), f"{title}: {text}")

            _fill(table, op, source, workload.axis, plan, tell)
        progress(len(races), len(races), "done")


def empty_table(workload: Workload, op: Op, source: real.Input) -> results.Table:
    """Return the table of a workload, without rows."""
    x = source.array
    out_size = x.size // x.shape[workload.axis] if op == "logsumexp" else x.size
    return results.Table(
        workload=workload.name,
        op=op,
        shape=list(x.shape),
        axis=workload.axis,
        dtype=x.dtype.name,
        bytes_moved=(x.size + out_size) * x.itemsize,
        remark=source.remark,
        figures=source.figures,
        series=workload.series,
        at=workload.at,
    )


def _fill(
    table: results.Table,
    op: Op,
    source: real.Input,
    axis: int,
    plan: Plan,
    tell: Callable[[float, str], None],
) -> None:
    """Check every contender, then race those that returned something."""
    tell(0, "exact values")
    try:
        truth = Truth(op, source.array, axis)
    except TypeError:  # no exact values of this type here: timed all the same, of unknown accuracy
        truth = None
    lineup = Lineup(table, op, source.array, plan.threads) if table.series != "scale" else None
    for contender in (contender for contender in plan.contenders if op in contender.ops):
        tell(0, f"checking {contender.name}")
        row, call = check(contender, op, source, axis, plan.threads, truth)
        table.rows.append(row)
        if call is not None and lineup is not None:
            lineup.enter(contender, call)
    if lineup is not None:
        lineup.race(plan.seconds_a_table, lambda done: tell(done, "timing"))


def check(
    contender: Contender, op: Op, source: real.Input, axis: int, threads: int, truth: Truth | None
) -> tuple[results.Row, Call | None]:
    """Run a contender once and judge its result; this first call is where it may compile."""
    row = results.Row(contender.name, contender.ours)
    try:
        call = contender.call(op, source.array, axis, threads)
        output = call.fetch(call.run())
        found = truth.judge(output) if truth is not None else None
    except Unsupported as error:
        row.verdict, row.reason = "unsupported", str(error)
        return row, None
    except Exception as error:  # a contender that fails is a finding, not the end of the comparison
        row.verdict, row.reason = "failed", f"{type(error).__name__}: {error}".splitlines()[0]
        return row, None
    if found is not None:
        row.max_ulp, row.mean_ulp = found.max_ulp, found.mean_ulp
        row.verdict, row.reason = found.verdict, found.reason
    return row, call
