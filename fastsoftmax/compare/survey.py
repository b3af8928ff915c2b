"""A survey of errors: every contender on every family of rows, and on growing scales and lengths. Nothing is timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from fastsoftmax.compare import families, lab, real, results
from fastsoftmax.compare.accuracy import Truth
from fastsoftmax.compare.contenders import Contender, equal_threads
from fastsoftmax.compare.workloads import Op, Workload

ROWS, LENGTH = 16, 1000
SCALES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
LENGTHS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 100_000, 1_000_000)
SERIES = {"scale": SCALES, "length": LENGTHS}
"""What the errors are plotted against, by the name of the figure in a table."""


def workloads(dtype: str) -> list[Workload]:
    """Return all rows of a type: a workload a family, then those of the series, which bring their figure.

    The families are 16 rows of 1000. The scales are those of as many normal numbers; the rows of growing length have
    a scale of 3, and are 2^20 elements at most.
    """
    made = [Workload(name, partial(_family, dtype, name)) for name in families.names(dtype) if _holds(dtype, name)]
    made += [Workload("scale", partial(_normal, dtype, scale, ROWS, LENGTH, {"scale": scale})) for scale in SCALES]
    for n in LENGTHS:
        rows = min(64, max(1, (1 << 20) // n))
        made.append(Workload("length", partial(_normal, dtype, 3.0, rows, n, {"length": float(n)})))
    return made


def run(
    contenders: Sequence[Contender],
    dtypes: Sequence[str],
    ops: Sequence[Op],
    result: results.Result,
    progress: Callable[[float, int, str], object] = lambda done, of, text: None,
) -> None:
    """Fill the result, a table for each function, type and kind of rows.

    Parameters
    ----------
    contenders : sequence of Contender
        Whose errors to find; they run on one thread.
    dtypes, ops : sequence of str
        The types and functions to look at.
    result : Result
        Gets a table whenever one is complete, so that an interruption loses nothing.
    progress : callable
        Is told how many tables are done, of how many, and what is being done.
    """
    plan = [(dtype, workload, op) for dtype in dtypes for workload in workloads(dtype) for op in ops]
    with equal_threads(contenders, 1), np.errstate(all="ignore"):
        for i, (dtype, workload, op) in enumerate(plan):
            progress(i, len(plan), f"{dtype} {op}: {workload.name}")
            source = workload.build()
            table = lab.empty_table(workload, op, source)
            truth = Truth(op, source.array, workload.axis)
            for contender in (contender for contender in contenders if op in contender.ops):
                row, _ = lab.check(contender, op, source, workload.axis, 1, truth)
                table.rows.append(row)
            result.tables.append(table)
        progress(len(plan), len(plan), "done")


def worst(result: results.Result, contender: str, op: str, dtype: str) -> results.Row | None:
    """Return the row in which a contender errs most; None if it has none."""
    rows = [table.row(contender) for table in result.tables if (table.op, table.dtype) == (op, dtype)]
    errors = [row for row in rows if row is not None and row.max_ulp is not None]
    return max(errors, key=lambda row: _order(row.max_ulp), default=None)


def _order(error: float | None) -> float:
    """Return a key that puts NaN last."""
    return float("inf") if error is None or error != error else error


def _family(dtype: str, name: str) -> real.Input:
    """Return rows of a family."""
    return real.Input(families.family(name, "float64", LENGTH, ROWS).astype(dtype))


def _holds(dtype: str, name: str) -> bool:
    """Return whether a type can hold a family."""
    x = families.family(name, "float64", LENGTH, ROWS)
    with np.errstate(over="ignore"):
        return bool((np.isinf(x) == np.isinf(x.astype(dtype))).all())


def _normal(dtype: str, scale: float, rows: int, n: int, figures: dict[str, float]) -> real.Input:
    """Return normal rows of a scale and a length."""
    x = np.random.default_rng([rows, n]).standard_normal((rows, n)) * scale
    return real.Input(x.astype(dtype), figures=figures)
