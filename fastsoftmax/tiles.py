"""What no kernel takes as it lies: odd strides, other types, masks.

Block after block is copied into a tile, which lies as the result does if that can be. Kernels take it from there, and
write to where the result is to go, or into the tile, from which it is copied.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax import arrays, layouts, routes, threads
from fastsoftmax.arrays import Array
from fastsoftmax.kernels.masks import replace_where_unset
from fastsoftmax.kernels.storage import OUT_IS_APART, OUT_IS_X
from fastsoftmax.steps import steps_for

if TYPE_CHECKING:
    from fastsoftmax.engine import Work

TILE = 2**20  # bytes of a tile at most, unless a row has more: with smaller ones threads wait for Python
LINE = 64  # bytes that the rows of a tile of columns have at least, or it is made of rows
ROOM = TILE * 3 // 2  # bytes of a tile and its flags
NOTHING = {"softmax": 0.0, "log_softmax": -np.inf}  # results of elements that take no part


def run_in_tiles(work: Work) -> None:
    """Do the work of a call."""
    x, out, mask, dtype = work.x, work.out, work.mask, work.x.dtype
    reduces = work.op == "logsumexp"
    lead = x if reduces else out
    if not routes.reads(dtype, work.way.textbook):
        dtype = arrays.compute_type(arrays.result_type(dtype))
    cut = _cut(work.op, x.shape, lead.strides, work.axes, dtype, work.way.tuned)
    x = x.transpose(cut.order)
    out = out.transpose(cut.order_of_kept if reduces else cut.order)
    mask = None if mask is None else mask.transpose(cut.order)
    tiles = Tiles(work, dtype, cut)

    def task(number: int) -> None:
        index = cut.blocks[number]
        block = x[index]
        room = _take(block.size * (dtype.itemsize + 1))
        tiles.compute(block, out[index], None if mask is None else mask[index], room)
        _put_back(room)

    for_all = threads.run if work.threaded else threads.run_here
    for_all(task, len(cut.blocks))


class Cut(NamedTuple):
    """How an array is cut into blocks."""

    order: tuple[int, ...]
    """Its axes, the reduced ones last, ..."""
    order_of_kept: tuple[int, ...]
    """... and those of a result without these, ..."""
    reduced: int
    """... of which there are so many."""
    are_columns: bool
    """Whether the reduced axes lie outside of the others in a tile."""
    blocks: tuple[Any, ...]
    """Indices of the ordered array."""
    kernels: Any
    """The tuned kernels for all of them, so that where a row lies decides no last bit; None if any may be taken."""


@lru_cache(maxsize=32)
def _cut(
    op: str,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    axes: tuple[int, ...],
    dtype: np.dtype[Any],
    tuned: bool,
) -> Cut:
    """Return how to cut an array of a shape so that tiles lie as one with these strides does, as far as possible."""
    order = layouts.order_of(shape, strides)
    kept, reduced = [a for a in order if a not in axes], [a for a in order if a in axes]
    places = [a for a in range(len(shape)) if a not in axes]
    innermost = [a for a in order if shape[a] > 1][-1:]
    n = arrays.size_of(shape, axes)
    are_columns = tuned and n > 1 and bool(innermost) and innermost == kept[-1:] and n * LINE <= TILE
    blocks = tuple(blocks_of(tuple(shape[a] for a in kept), n, TILE // dtype.itemsize))
    kernels = None
    if tuned and len(blocks) > 1:
        kernels = routes.kernels_of_blocks(op, n, math.prod(shape) // n, dtype, are_columns)
    return Cut((*kept, *reduced), tuple(places.index(a) for a in kept), len(reduced), are_columns, blocks, kernels)


def blocks_of(kept: tuple[int, ...], n: int, most: int) -> Iterator[tuple[Any, ...]]:
    """Cut the kept axes evenly into index tuples of so many elements of x at most, unless a row of n has more."""
    depth = 0
    while depth < len(kept) and math.prod(kept[depth + 1 :]) * n > most:
        depth += 1
    if depth == len(kept):
        yield from ((*index, ...) for index in itertools.product(*map(range, kept)))
        return
    step = max(1, most // (math.prod(kept[depth + 1 :]) * n))
    step = -(-kept[depth] // -(-kept[depth] // step))
    for index in itertools.product(*map(range, kept[:depth])):
        for first in range(0, kept[depth], step):
            yield (*index, slice(first, first + step), ...)


_spare: list[Array] = []


def _take(size: int) -> Array:
    """Return memory of so many bytes, used before if there is such: to get new pages takes longer than the rest."""
    if size > ROOM:
        return layouts.mid_page((size,), np.dtype(np.uint8))
    try:
        return _spare.pop()
    except IndexError:
        return layouts.mid_page((ROOM,), np.dtype(np.uint8))


def _put_back(room: Array) -> None:
    """Keep memory for the next tile."""
    if room.size == ROOM:
        _spare.append(room)


class Plan(NamedTuple):
    """How to compute blocks of a shape."""

    run: Callable[[Array, Array, float], None]
    """Computes the result, divided by the temperature, ..."""
    into_out: bool
    """... where it is to go, or else ..."""
    in_place: bool
    """... in the tile, or in an array of its own."""
    strides: tuple[int, ...]
    """Those of a tile, in bytes, ..."""
    of_flags: tuple[int, ...]
    """... and of its flags."""


@lru_cache(maxsize=1024)
def _plan(
    op: str,
    shape: tuple[int, ...],
    outs: tuple[int, ...] | None,
    dtype: np.dtype[Any],
    reduced: int,
    are_columns: bool,
    textbook: Any,
    kernels: Any,
) -> Plan:
    """Return how to compute blocks of a shape, to where strides are `outs`, in elements, if not None."""
    kept, axes = len(shape) - reduced, tuple(range(len(shape)))
    order = axes[kept:] + axes[:kept] if are_columns else axes
    xs = layouts.strides_in(order, shape)
    find = partial(steps_for, axes=axes[kept:], dtype=dtype, textbook=textbook, sharers=1, tuned=kernels)
    steps = None if outs is None else find(op, shape, xs, outs, out_is=OUT_IS_APART)
    into_out, in_place = steps is not None, op != "logsumexp"
    if steps is None:
        outs = xs if in_place else layouts.strides_in(axes[:kept], shape[:kept])
        steps = find(op, shape, xs, outs, out_is=OUT_IS_X if in_place else OUT_IS_APART)
    assert steps is not None  # tiles lie as kernels take them
    return Plan(steps.runner(dtype), into_out, in_place, tuple(stride * dtype.itemsize for stride in xs), xs)


class Tiles:
    """How to compute blocks.

    Parameters
    ----------
    work : Work
        What they are blocks of.
    dtype : dtype
        Of tiles.
    cut : Cut
        How they are cut.
    """

    def __init__(self, work: Work, dtype: np.dtype[Any], cut: Cut) -> None:
        self.op, self.temperature, self.way = work.op, work.temperature, work.way
        self.dtype, self.cut = dtype, cut

    def compute(self, x: Array, out: Array, mask: Array | None, room: Array) -> None:
        """Write the result for a block x to `out`, which may be x; there is room for a tile and its flags."""
        shape, dtype, cut = x.shape, self.dtype, self.cut
        outs = layouts.element_strides(out) if out.dtype == dtype else None
        plan = _plan(self.op, shape, outs, dtype, cut.reduced, cut.are_columns, self.way.textbook, cut.kernels)
        tile: Array = np.ndarray(shape, dtype, room.data, 0, plan.strides)
        if x.dtype == dtype:
            np.copyto(tile, x)
        else:
            arrays.write(tile, x)
        if self.temperature < 0:
            np.negative(tile, out=tile)
        if mask is not None:
            flags = mask
            if mask.strides != plan.of_flags:
                flags = np.ndarray(shape, np.bool_, room.data, tile.nbytes, plan.of_flags)
                np.copyto(flags, mask)
            _replace(tile, flags, -np.inf)
        result = out if plan.into_out else tile if plan.in_place else np.empty(out.shape, dtype)
        plan.run(tile, result, abs(self.temperature))
        if mask is not None and self.op in NOTHING and self._are_unclear(result):
            self._clear(result, flags)
        if not plan.into_out:
            arrays.write(out, result)

    def _are_unclear(self, result: Array) -> bool:
        """Tell whether elements that take no part may have another result than nothing: NaN, as their rows have."""
        first: Any = (...,) + (0,) * self.cut.reduced
        return not self.way.tuned or bool(np.isnan(result[first]).any())

    def _clear(self, result: Array, flags: Array) -> None:
        """Give elements that take no part the result of nothing."""
        value = NOTHING[self.op]
        if tuple(stride * result.itemsize for stride in flags.strides) == result.strides:
            _replace(result, flags, value)
        else:
            np.copyto(result, value, where=~flags)


def _replace(a: Array, flags: Array, value: float) -> None:
    """Write a value to the elements of an array without gaps whose flags, which lie as they do, are unset."""
    bits = arrays.storage(np.array(value, a.dtype))
    replace_where_unset.unchecked(bits.dtype)(a, flags, a.size, float(bits))
