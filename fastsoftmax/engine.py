"""From arrays to results: kernels take an array as it lies (`steps.py`), or else tile by tile (`tiles.py`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastsoftmax import arrays, layouts, threads
from fastsoftmax.arrays import Array
from fastsoftmax.kernels.storage import OUT_IS_APART, OUT_IS_X
from fastsoftmax.ladder import Way
from fastsoftmax.steps import Steps, steps_for
from fastsoftmax.tiles import run_in_tiles

THREADED = 2**18  # elements from which on threads pay, even where they must be woken
#: Temperatures for kernels, which multiply by the inverse in two parts: neither may overflow, nor the second vanish.
TEMPERATURES = {"float32": (2.0**-20, 2.0**100), "float64": (2.0**-50, 2.0**900)}


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
    ) -> None:
        self.op, self.x, self.out, self.axes = op, x, out, axes
        self.temperature, self.way, self.mask = temperature, way, mask
        self.n = arrays.size_of(x.shape, axes)
        self.threaded = way.threads == "always" or (way.threads != "never" and x.size >= THREADED)
        self._steps = self._find_steps()

    def run(self) -> None:
        """Do it."""
        if self._steps is None:
            run_in_tiles(self)
        else:
            self._steps.run(self.x, self.out, self.temperature, self.threaded)

    def way_through(self) -> str:
        """Return which way is taken: one of those in `choice.REASONS`."""
        return "tiles" if self._steps is None else self._steps.way

    def _find_steps(self) -> Steps | None:
        """Return what a kernel is to do, None if none can read x and write `out` as they lie."""
        x, out = self.x, self.out
        if out.dtype != x.dtype or self.mask is not None or self.temperature < 0:
            return None
        xs, outs = layouts.element_strides(x), layouts.element_strides(out)
        if xs is None or outs is None:
            return None
        sharers = threads.get_num_threads() if self.threaded else 1
        textbook, out_is = self.way.textbook, OUT_IS_X if np.may_share_memory(x, out) else OUT_IS_APART
        return steps_for(self.op, x.shape, xs, outs, self.axes, x.dtype, textbook, out_is, sharers)
