"""From arrays to kernels: finds the shape that a kernel can take, cuts the work into tasks, runs them.

Three ways lead through an array of any layout. *Rows*: the reduced axes lie together, element behind element; kernels
take them as they are. *Columns*: another axis does, and vectors run across it. *Tiles*: everything else (odd strides,
other types, masks) is copied a piece at a time into rows, computed there, and copied to its place.

Rows and columns are computed each by itself, and long rows in pieces that depend on their length alone; so results do
not depend on the number of threads.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastsoftmax import arrays, routes, team, threads
from fastsoftmax.arrays import Array
from fastsoftmax.kernels.long_row import run_long_rows
from fastsoftmax.kernels.masks import replace_where_unset
from fastsoftmax.kernels.storage import OUT_IS_APART, OUT_IS_LARGE, OUT_IS_X
from fastsoftmax.ladder import Way
from fastsoftmax.routes import column_kernels, cut_columns, reads, row_kernels

THREADED = 2**18  # elements from which on threads pay, even where they must be woken
TILE = 2**15  # elements that are copied at a time
LONG = 2**18  # a longer row is cut into pieces
PAST_CACHES = 2**26  # bytes of a result from which on it is written past the caches, ...
IN_CACHE = 2**18  # ... if no row has more: its terms stay in a near one meanwhile
MANY_CALLS = 64  # more calls of a kernel than this must be worth it
#: Temperatures for kernels, which multiply by the inverse in two parts: neither may overflow, nor the second vanish.
TEMPERATURES = {"float32": (2.0**-20, 2.0**100), "float64": (2.0**-50, 2.0**900)}

Dim = tuple[int, int, int]
Dims = list[Dim]


def suits_kernels(temperature: float, dtype: np.dtype[Any]) -> bool:
    """Tell whether kernels that compute results of this type can divide by the temperature."""
    coldest, warmest = TEMPERATURES[arrays.compute_name(dtype)]
    return coldest <= abs(temperature) <= warmest


class Work:
    """One call: what to compute, from where to where.

    Parameters
    ----------
    op : str
        "softmax", "log_softmax" or "logsumexp".
    x, out : ndarray
        For logsumexp, `out` has no reduced axes.
    axes : tuple of int
        The reduced axes, sorted.
    temperature : float
        Not 0.
    way : Way
        Of the ladder.
    mask : ndarray of bool or None
        Which elements take part.
    fresh : bool
        Whether `out` was made for this call. Then its pages are new, and have just been cleared in the caches.
    """

    def __init__(
        self,
        op: str,
        x: Array,
        out: Array,
        axes: tuple[int, ...],
        temperature: float,
        way: Way,
        mask: Array | None,
        fresh: bool,
    ) -> None:
        self.op, self.x, self.out, self.axes = op, x, out, axes
        self.temperature, self.way, self.mask, self.fresh = temperature, way, mask, fresh
        self.kept = tuple(a for a in range(x.ndim) if a not in axes)
        self.n = arrays.size_of(x.shape, axes)
        self.reduces = op == "logsumexp"
        self.threaded = way.threads == "always" or (way.threads != "never" and x.size >= THREADED)

    def run(self) -> None:
        """Do it."""
        if rows := self._rows():
            self._run_rows(*rows)
        elif columns := self._columns():
            self._run_columns(*columns)
        else:
            self._run_tiles()

    def way_through(self) -> str:
        """Return which way is taken: one of those in `choice.REASONS`."""
        if self._rows():
            return "long rows" if self.way.tuned and self.n > LONG else routes.ROWS.get(self._row_kernels(), "rows")
        if columns := self._columns():
            _, _, (n, x_pitch, out_pitch), inner = columns
            kernels = column_kernels(self.op, n, inner, self.x.size // n, self.x.dtype, (x_pitch, out_pitch))
            return routes.COLUMNS[kernels]
        return "tiles"

    def _is_plain(self) -> bool:
        """Tell whether kernels can read x and write `out` as they lie."""
        same = self.out.dtype == self.x.dtype
        known = self.x.dtype in arrays.NATIVE or (self.way.tuned and reads(self.x.dtype))
        return same and known and self.mask is None and self.temperature > 0

    @functools.cached_property
    def _dims(self) -> tuple[Dims, Dims] | None:
        """Return the kept and the reduced dimensions, merged, with their strides in x and `out`.

        None if no kernel can read x and write `out` as they lie.
        """
        if not self._is_plain():
            return None
        xs, outs = arrays.element_strides(self.x), arrays.element_strides(self.out)
        if xs is None or outs is None:
            return None
        if self.reduces:
            kept_outs = iter(outs)
            outs = tuple(next(kept_outs) if a in self.kept else 0 for a in range(self.x.ndim))
        shape = self.x.shape
        kept = arrays.collapse([(shape[a], xs[a], outs[a]) for a in self.kept])
        reduced = arrays.collapse([(shape[a], xs[a], outs[a]) for a in self.axes])
        return kept, reduced

    def _rows(self) -> tuple[Dims, Dim] | None:
        """Return (outer dimensions, the rows) if x consists of rows."""
        dims = self._dims
        if dims is None:
            return None
        kept, reduced = dims
        if len(reduced) > 1 or (reduced and reduced[0][1:] != (1, 0 if self.reduces else 1)):
            return None
        *outer, rows = kept or [(1, self.n, 1)]
        calls = math.prod(size for size, _, _ in outer)
        return None if calls > MANY_CALLS and rows[0] * self.n < TILE // 8 else (outer, rows)

    def _run_rows(self, outer: Dims, rows: Dim) -> None:
        count, x_step, out_step = rows
        x, out = arrays.storage(self.x), arrays.storage(self.out)
        x_base, out_base = arrays.base_of(x), arrays.base_of(out)
        for x_start, out_start in _offsets(outer):
            self._run_equidistant(x_base, x_start, x_step, out_base, out_start, out_step, count)

    def _run_equidistant(
        self, x: Array, x_start: int, x_step: int, out: Array, out_start: int, out_step: int, rows: int
    ) -> None:
        """Run a kernel over rows at constant steps, cut into tasks if threads are to share them."""
        n, temperature = self.n, self.temperature
        before = x, x_start, x_step, out, out_start, out_step
        if self.way.tuned and n > LONG:
            run_long_rows(self.op, *before, rows, n, temperature, self._in_place(), self.threaded)
            return
        behind = n, self._kind_of_out(), temperature
        team.share(self._row_kernel(), x.dtype, rows, n, before, behind, threaded=self.threaded)

    def _kind_of_out(self) -> int:
        """Return what kernels of rows are to take the result for."""
        if self._in_place():
            return OUT_IS_X
        is_large = self.out.nbytes >= PAST_CACHES and self.n * self.out.itemsize <= IN_CACHE
        return OUT_IS_LARGE if is_large and not self.fresh else OUT_IS_APART

    def _row_kernels(self) -> Any:
        if not self.way.tuned:
            return self.way.kernels
        return row_kernels(
            self.op, self.x.size // self.n, self.n, arrays.compute_name(arrays.result_type(self.x.dtype))
        )

    def _row_kernel(self) -> Any:
        return getattr(self._row_kernels(), self.op + "_rows")

    def _columns(self) -> tuple[Dims, Dim, Dim, int] | None:
        """Return (outer dimensions, planes, the reduced one, columns a plane) if x consists of columns."""
        dims = self._dims
        if dims is None or not self.way.tuned:
            return None
        kept, reduced = dims
        if len(reduced) != 1 or not kept or kept[-1][1:] != (1, 1):
            return None
        *outer, (inner, _, _) = kept
        *outer, planes = outer or [(1, 0, 0)]
        calls = math.prod(size for size, _, _ in outer)
        return (outer, planes, reduced[0], inner) if calls <= MANY_CALLS else None

    def _in_place(self) -> bool:
        return bool(np.may_share_memory(self.x, self.out))

    def _run_columns(self, outer: Dims, planes: Dim, reduced: Dim, inner: int) -> None:
        """Run a kernel over strips of columns, cut into tasks if threads are to share them."""
        x, out = arrays.base_of(arrays.storage(self.x)), arrays.base_of(arrays.storage(self.out))
        (count, x_outer, out_outer), (n, x_pitch, out_pitch) = planes, reduced
        sharers = threads.get_num_threads() if self.threaded else 1
        of_x = n, inner, count, self.x.size // n, self.x.dtype
        kernel, cut, blocks = cut_columns(self.op, *of_x, (x_pitch, out_pitch), self._in_place(), sharers)
        behind = count, n, inner, *cut, self.temperature
        unit = -(-n * inner * count // blocks)
        for x_start, out_start in _offsets(outer):
            before = x, x_start, x_outer, x_pitch, out, out_start, out_outer, out_pitch
            team.share(kernel, x.dtype, blocks, unit, before, behind, threaded=self.threaded)

    def _run_tiles(self) -> None:
        """Copy block after block into rows of the type that is computed in, and what comes out to its place."""
        order = self.kept + self.axes
        x = self.x.transpose(order)
        out = self.out if self.reduces else self.out.transpose(order)
        mask = None if self.mask is None else self.mask.transpose(order)
        blocks = list(_blocks(x.shape[: len(self.kept)], self.n))
        dtype = arrays.compute_type(arrays.result_type(self.x.dtype))

        def task(number: int) -> None:
            index = (*blocks[number], ...)
            self._run_tile(x[index], out[index], None if mask is None else mask[index], dtype)

        for_all = threads.run if self.threaded else threads.run_here
        for_all(task, len(blocks))

    def _run_tile(self, x: Array, out: Array, mask: Array | None, dtype: np.dtype[Any]) -> None:
        tile = np.empty(x.shape, dtype)
        arrays.write(tile, x)
        temperature = self.temperature
        if temperature < 0:
            np.negative(tile, out=tile)
            temperature = -temperature
        rows, flat = tile.size // self.n, tile.reshape(-1)
        if mask is not None:
            flags = np.ascontiguousarray(mask).reshape(-1).view(np.uint8)
            replace_where_unset[dtype](flat, flags, flat.size, -np.inf)
        result = np.empty(rows, dtype) if self.reduces else flat
        kernel = self._row_kernel()[dtype]
        kernel(flat, 0, self.n, result, 0, 1 if self.reduces else self.n, 0, rows, self.n, OUT_IS_X, temperature)
        if mask is not None and not self.reduces:
            replace_where_unset[dtype](flat, flags, flat.size, 0.0 if self.op == "softmax" else -np.inf)
        arrays.write(out, result.reshape(out.shape))


def _offsets(outer: Dims) -> Iterator[tuple[int, int]]:
    """Return the offsets in both arrays for every index of the outer dimensions."""
    for index in itertools.product(*(range(size) for size, _, _ in outer)):
        yield (
            sum(i * a for i, (_, a, _) in zip(index, outer, strict=True)),
            sum(i * b for i, (_, _, b) in zip(index, outer, strict=True)),
        )


def _blocks(kept: tuple[int, ...], n: int) -> Iterator[tuple[Any, ...]]:
    """Cut the kept axes into index tuples of about TILE elements of x each."""
    depth = 0
    while depth < len(kept) and math.prod(kept[depth + 1 :]) * n > TILE:
        depth += 1
    if depth == len(kept):
        yield from itertools.product(*map(range, kept))
        return
    step = max(1, TILE // (math.prod(kept[depth + 1 :]) * n))
    for index in itertools.product(*map(range, kept[:depth])):
        for first in range(0, kept[depth], step):
            yield (*index, slice(first, first + step))
