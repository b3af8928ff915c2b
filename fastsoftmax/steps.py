"""What kernels are to do for arrays of a shape, type and layout: worked out once for each, and remembered.

Two ways lead through an array as it lies. *Rows*: the reduced axes lie together, element behind element. *Columns*:
another axis does, and vectors run across it. What is neither is copied first (`tiles.py`).

Rows and columns are computed each by itself, and long rows in pieces that depend on their length alone; so results do
not depend on the number of threads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from fastsoftmax import arrays, layouts, routes, team
from fastsoftmax.arrays import Array
from fastsoftmax.folded import run_in_pieces
from fastsoftmax.jit import Kernel
from fastsoftmax.kernels import folded_columns, narrow
from fastsoftmax.kernels.folds import ALL
from fastsoftmax.kernels.long_row import run_long_rows
from fastsoftmax.kernels.storage import OUT_IS_X

LONG = 2**18  # a longer row is cut into pieces
IN_PIECES = 2**18  # threads share the pieces of a folded matrix of so many elements, unless it is one of many
MANY_CALLS = 64  # more calls of a kernel than this must be worth it, ...
WORTH_IT = 2**12  # ... with so many elements each

Dims = list[tuple[int, int, int]]  #: of each dimension the size, and the strides in x and in the result
Strides = tuple[int, ...]  #: of all axes of an array, in elements


class Steps(NamedTuple):
    """What a kernel is to do: all but the arrays and the temperature."""

    op: str
    way: str
    """One of `choice.REASONS`."""
    kernel: Kernel | None
    """None for long rows, which take several."""
    starts: tuple[tuple[int, int], ...]
    """Where in x and in the result each of its calls begins, ..."""
    of_x: tuple[int, ...]
    """... its arguments behind that in x, ..."""
    of_result: tuple[int, ...]
    """... in the result, ..."""
    others: tuple[int, ...]
    """... and behind the range of rows or strips."""
    parts: int
    """How many of these there are in a call, ..."""
    unit: int
    """... and of how many elements each."""
    in_place: bool
    """Whether the result is x: then nothing of it may be computed twice."""
    past_caches: bool = False
    """Whether rows are written past the caches: then threads take few parts."""
    in_pieces: bool = False
    """Whether threads share the pieces of a plane of folded columns, rather than planes."""
    in_lines: bool = False
    """Whether a new result should have the same place in a cache line as x."""

    def run(self, x: Array, out: Array, temperature: float, threaded: bool) -> None:
        """Do it, on as many threads as allowed and useful if it is `threaded`."""
        x, out = layouts.base_of(arrays.storage(x)), layouts.base_of(arrays.storage(out))
        self._prepare(x.dtype)
        for x_start, out_start in self.starts:
            if self.kernel is None:
                (x_step,), (out_step,), (n, _) = self.of_x, self.of_result, self.others
                places = x, x_start, x_step, out, out_start, out_step
                run_long_rows(self.op, *places, self.parts, n, temperature, self.in_place, self.past_caches, threaded)
            elif self.in_pieces and threaded:
                of_x, of_result = (x, x_start, *self.of_x), (out, out_start, *self.of_result)
                run_in_pieces(self.kernel, self.op, of_x, of_result, self.parts, self.others, temperature)
            else:
                before, behind = (x, x_start, *self.of_x, out, out_start, *self.of_result), (*self.others, temperature)
                team.share(self.kernel, x.dtype, self.parts, self.unit, before, behind, threaded, self.past_caches)

    def runner(self, dtype: np.dtype[Any]) -> Callable[[Array, Array, float], None]:
        """Return what does it on this thread for arrays of a type, from x, the result and the temperature on."""
        if self.kernel is None:
            return lambda x, out, temperature: self.run(x, out, temperature, threaded=False)
        stored = arrays.storage_type(dtype)
        self._prepare(stored)
        kernel, cells, of_x = self.kernel.unchecked(stored), self.kernel.cells(stored), self.of_x
        complete, behind = partial(self.kernel.complete, stored), (*self.of_result, 0, self.parts, *self.others)
        if len(self.starts) > 1 or not cells:

            def run_all(x: Array, out: Array, temperature: float) -> None:
                for x_start, out_start in self.starts:
                    while kernel(x, x_start, *of_x, out, out_start, *behind, temperature, *cells):
                        complete()

            return run_all
        if len(of_x) > 1:
            (a, b), (c, d, e, f, g, h, i, j, k, m), (cell,) = of_x, behind, cells  # one by one they are passed faster

            def run_columns(x: Array, out: Array, temperature: float) -> None:
                while kernel(x, 0, a, b, out, 0, c, d, e, f, g, h, i, j, k, m, temperature, cell):
                    complete()

            return run_columns
        (a,), (b, c, d, e, f), (cell,) = of_x, behind, cells

        def run_rows(x: Array, out: Array, temperature: float) -> None:
            while kernel(x, 0, a, out, 0, b, c, d, e, f, temperature, cell):
                complete()

        return run_rows

    def _prepare(self, stored: np.dtype[Any]) -> None:
        if self.in_place and self.kernel is not None:
            self.kernel.complete(stored)


@lru_cache(maxsize=4096)
def steps_for(
    op: str,
    shape: tuple[int, ...],
    xs: Strides,
    outs: Strides,
    axes: tuple[int, ...],
    dtype: np.dtype[Any],
    textbook: Any,
    out_is: int,
    sharers: int,
    tuned: Any = None,
) -> Steps | None:
    """Return what a kernel is to do; None if there is none that can take the arrays as they lie.

    Parameters
    ----------
    op : str
        "softmax", "log_softmax" or "logsumexp".
    shape : tuple of int
        That of x, which has elements.
    xs, outs : tuple of int
        Strides in elements; for logsumexp, `outs` has those of the axes that are kept.
    axes : tuple of int
        The reduced axes, sorted.
    dtype : dtype
        Of x and of the result.
    textbook : module or None
        The kernels of a rung that is not tuned.
    out_is : int
        What kernels of rows are to take the result for (`storage.py`).
    sharers : int
        How many threads share the work.
    tuned : module, optional
        The tuned kernels to take, where others that suit as well would make other last bits.
    """
    if not routes.reads(dtype, textbook):
        return None
    kept_axes = [a for a in range(len(shape)) if a not in axes]
    if op == "logsumexp":
        of_kept = dict(zip(kept_axes, outs, strict=True))
        outs = tuple(of_kept.get(a, 0) for a in range(len(shape)))
    kept = layouts.collapse([(shape[a], xs[a], outs[a]) for a in kept_axes])
    reduced = layouts.collapse([(shape[a], xs[a], outs[a]) for a in axes])
    n, in_all = arrays.size_of(shape, axes), arrays.size_of(shape, tuple(kept_axes))
    if len(reduced) > 1:
        return None
    if not reduced or reduced[0][1:] == (1, 0 if op == "logsumexp" else 1):
        return _steps_of_rows(op, kept, n, in_all, dtype, textbook, out_is, tuned)
    if textbook is not None or not kept or kept[-1][1:] != (1, 1):
        return None
    return _steps_of_columns(op, kept, reduced[0], in_all, dtype, out_is == OUT_IS_X, sharers, tuned)


def _steps_of_rows(
    op: str, kept: Dims, n: int, in_all: int, dtype: np.dtype[Any], textbook: Any, out_is: int, tuned: Any
) -> Steps | None:
    """Return what a kernel is to do for rows of n elements, `in_all` of them."""
    *outer, (rows, x_step, out_step) = kept or [(1, n, n)]
    if _calls(outer) > MANY_CALLS and rows * n < WORTH_IT:
        return None
    in_place, compute_type = out_is == OUT_IS_X, arrays.compute_name(dtype)
    is_whole = not (textbook or tuned or in_place or outer) and out_step == n
    past_caches = is_whole and op != "logsumexp" and routes.is_large(in_all * n, dtype)
    kernels = textbook or tuned or routes.row_kernels(op, in_all, n, compute_type, past_caches)
    kernel, way = getattr(kernels, op + "_rows"), routes.ROWS.get(kernels, "rows")
    if textbook is None and n > LONG:
        kernel, way = None, "long rows"
    past_caches = past_caches and kernels is not narrow
    return Steps(op, way, kernel, _starts(outer), (x_step,), (out_step,), (n, out_is), rows, n, in_place, past_caches)


def _steps_of_columns(
    op: str,
    kept: Dims,
    reduced: tuple[int, int, int],
    in_all: int,
    dtype: np.dtype[Any],
    in_place: bool,
    sharers: int,
    tuned: Any,
) -> Steps | None:
    """Return what a kernel is to do for columns, `in_all` of them."""
    n, x_pitch, out_pitch = reduced
    *outer, (inner, _, _) = kept
    *outer, (planes, x_outer, out_outer) = outer or [(1, 0, 0)]
    if _calls(outer) > MANY_CALLS:
        return None
    pitches = x_pitch, out_pitch
    kernels, cut, strips = routes.cut_columns(op, n, inner, planes, in_all, dtype, pitches, in_place, sharers, tuned)
    kernel, way, unit = getattr(kernels, op + "_columns"), routes.COLUMNS[kernels], -(-n * inner * planes // strips)
    of_x, of_out = (x_outer, x_pitch), (out_outer, out_pitch)
    others = (ALL if kernels is folded_columns else planes, n, inner, *cut)  # see the parameters of these kernels
    in_pieces = kernels is folded_columns and n * inner >= IN_PIECES and planes < 2 * sharers > 2
    in_lines, starts = routes.are_in_lines(op, kernels, inner, pitches, dtype), _starts(outer)
    return Steps(op, way, kernel, starts, of_x, of_out, others, strips, unit, in_place, False, in_pieces, in_lines)


def _calls(outer: Dims) -> int:
    return math.prod(size for size, _, _ in outer)


def _offset(index: tuple[int, ...], strides: Strides) -> int:
    return sum(i * stride for i, stride in zip(index, strides, strict=True))


def _starts(outer: Dims) -> tuple[tuple[int, int], ...]:
    """Return the offsets in both arrays for every index of the outer dimensions."""
    indices = itertools.product(*(range(size) for size, _, _ in outer))
    _, xs, outs = zip(*outer, strict=True) if outer else ((), (), ())
    return tuple((_offset(index, xs), _offset(index, outs)) for index in indices)
