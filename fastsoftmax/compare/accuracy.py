"""How far a result is from the exact one, and what to call it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastsoftmax.compare import exact
from fastsoftmax.compare.workloads import Op

Array = NDArray[Any]
Verdict = Literal["exact", "inexact", "wrong"]

# Largest error, in ULP, of what is called exact, for float32 and float64.
EXACT_ULP: dict[Op, float] = {"softmax": 2.0, "log_softmax": 2.0, "logsumexp": 1.0}

# Elements judged at most; of a larger input, evenly spaced rows, and of a longer row, evenly spaced elements.
MOST = {"float64": 1 << 20}
MOST_OTHERS = 1 << 22
_BLOCK = 1 << 18  # elements judged at once, so that the temporaries stay small


@dataclass(frozen=True)
class Accuracy:
    """What became of one result: its errors in ULP, the verdict, and for a wrong one the reason."""

    max_ulp: float
    mean_ulp: float
    verdict: Verdict
    reason: str = ""


def exact_ulp(op: Op, dtype: str) -> float:
    """Return the largest error, in ULP of a type, of what is called exact.

    Half floats are to be an exact float32 result, rounded.
    """
    lost = exact.FORMATS["float32"].precision - exact.FORMATS[dtype].precision
    return 0.5 + EXACT_ULP[op] * 2.0**-lost if lost > 0 else EXACT_ULP[op]


class Truth:
    """The exact values of one function on one input, to judge any number of results by.

    Parameters
    ----------
    op : {"softmax", "log_softmax", "logsumexp"}
        The function.
    x : ndarray
        Its input.
    axis : int
        The axis it reduces.
    """

    def __init__(self, op: Op, x: Array, axis: int) -> None:
        self.op, self.axis = op, axis
        self.shape = np.delete(x.shape, axis).tolist() if op == "logsumexp" else list(x.shape)
        rows = _as_rows(x, axis)
        with np.errstate(over="ignore", invalid="ignore"):
            span = np.ptp(rows) if op == "log_softmax" else np.abs(rows).max()
        self.all_finite = bool(np.isfinite(span))
        most = MOST.get(x.dtype.name, MOST_OTHERS)
        self._rows = _evenly(len(rows), max(1, most // rows.shape[1]))
        rows = rows[self._rows]
        totals = exact.totals(rows)
        if op == "logsumexp":
            self._columns: slice | NDArray[np.int64] = slice(None)
            self._true = exact.logsumexp_of(rows, totals)
        else:
            self._columns = _evenly(rows.shape[1], most)
            if not isinstance(self._columns, slice):  # the top element is the hardest one of log_softmax
                self._columns = np.append(self._columns, rows[0].argmax())
            of = exact.softmax_of if op == "softmax" else exact.log_softmax_of
            self._true = of(rows[:, self._columns], totals)

    def judge(self, result: Array) -> Accuracy:
        """Return the accuracy of a result."""
        nothing = float("nan")
        if list(result.shape) != self.shape:
            reason = f"shape {result.shape} where {tuple(self.shape)} is right"
            return Accuracy(nothing, nothing, "wrong", reason)
        if result.dtype.name not in exact.FORMATS:
            return Accuracy(nothing, nothing, "wrong", f"a result of type {result.dtype}")
        if self.all_finite and (strays := int(result.size - np.isfinite(result).sum())):
            return Accuracy(float("inf"), float("inf"), "wrong", f"{strays:,} NaN or inf of {result.size:,}")

        rows = result.reshape(-1, 1) if self.op == "logsumexp" else _as_rows(result, self.axis)
        got = rows[self._rows][:, self._columns]
        unit = self._unit(result.dtype.name)
        worst, total = 0.0, 0.0
        step = max(1, _BLOCK // got.shape[1])
        for i in range(0, len(got), step):
            here = slice(i, i + step)
            error = exact.ulp_error(got[here], self._true[here], unit=unit[here])
            worst = max(worst, float(error.max()))
            total += float(error.sum())
        mean = total / got.size
        if worst <= exact_ulp(self.op, result.dtype.name):
            return Accuracy(worst, mean, "exact")
        if reason := self._gross(got):
            return Accuracy(worst, mean, "wrong", reason)
        return Accuracy(worst, mean, "inexact")

    @cache  # noqa: B019 - a truth lives as long as its race
    def _unit(self, dtype: str) -> Array:
        """Return one ULP of the result's type at every exact value."""
        return exact.spacing(self._true, dtype, near_zero=exact.NEAR_ZERO[self.op])

    def _gross(self, got: Array) -> str:
        """Return what is grossly off: two thirds of the type's digits lost, of the size that matters.

        That size is 1 for logarithms and the largest result for softmax, so an error that only shows in tiny
        values is called inexact, not wrong.
        """
        with np.errstate(invalid="ignore"):
            difference = np.abs(got.astype(self._true.dtype) - self._true)
            size = np.abs(self._true)
            scale = np.nanmax(size, initial=0) if self.op == "softmax" else np.maximum(size, 1)
            digits = exact.format_of(got.dtype).precision
            disagree = np.isnan(got) != np.isnan(self._true)
            off = disagree | (difference > scale * 2.0 ** (-digits / 3))
        if not off.any():
            return ""
        badness = np.where(off, np.nan_to_num(difference, nan=np.inf), -1)
        i = np.unravel_index(int(badness.argmax()), got.shape)
        return f"{got[i]:.6g} where {float(self._true[i]):.6g} is right"


def _as_rows(x: Array, axis: int) -> Array:
    """Return x as rows along the axis."""
    moved = np.moveaxis(x, axis, -1)
    return moved.reshape(-1, moved.shape[-1])


def _evenly(n: int, most: int) -> slice | NDArray[np.int64]:
    """Return an index of n things that takes all of them, or ``most`` from the first to the last."""
    return slice(None) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)
