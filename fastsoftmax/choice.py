"""What `auto` chooses for an array, and why."""

from __future__ import annotations

from typing import Any

from fastsoftmax import arrays, layouts, threads
from fastsoftmax.engine import THREADED, Work
from fastsoftmax.ladder import way_of

OPS = ("softmax", "log_softmax", "logsumexp")
REASONS = {
    "rows": "the reduced axis is contiguous: vectors run along it, with a guessed exponent in place of the maximum",
    "narrow rows": "rows of {n} are short: a vector's width of them is transposed and done at once",
    "short rows": "rows of {n} are short: what crosses a vector's lanes is done for a vector's width of them at once",
    "large rows": "the result is larger than caches: a row is written past them while the next one is summed",
    "long rows": "rows of {n} are cut into pieces, which threads can share",
    "columns": "another axis is contiguous: vectors run across it, strip by strip",
    "short columns": "columns of {n} are short: a vector's width of them is done at once, as narrow rows are",
    "folded columns": "there are few columns: so many rows as make whole vectors are computed as one",
    "tiles": "the layout or type is copied piece by piece into one that kernels take",
}


def explain(x: Any, axis: Any = None, *, op: str = "softmax", method: str = "auto") -> str:
    """Tell how a call would be computed, and why, without computing it.

    Parameters
    ----------
    x, axis, method
        As for `fastsoftmax.softmax`.
    op : str, optional
        "softmax", "log_softmax" or "logsumexp".

    Returns
    -------
    str
        The way through the array, the reason, and the threads.

    Raises
    ------
    TypeError, ValueError
        As `fastsoftmax.softmax` would; also for an unknown op.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsoftmax import explain
    >>> print(explain(np.zeros((1000, 1024)), axis=0).split(":")[0])
    columns
    """
    if op not in OPS:
        raise ValueError(f"op must be one of {', '.join(OPS)}, not {op!r}")
    way = way_of(method)
    x = arrays.as_numbers(x, "x")
    axes = arrays.normalize_axis(axis, x.ndim)
    dtype = arrays.result_type(x.dtype)
    if x.size == 0:
        return "nothing: the array is empty"
    if arrays.is_plain(dtype):
        return f"plain NumPy: no kernel computes {dtype}"
    out = layouts.fresh(x, axes if op == "logsumexp" else (), dtype)
    work = Work(op, x, out, axes, 1.0, way, None)
    through = work.way_through()
    reason = REASONS[through].format(n=work.n)
    if work.threaded and threads.get_num_threads() > 1:
        count = f"up to {threads.get_num_threads()} threads"
    else:
        count = f"one thread: they pay from {THREADED} elements on" if way.threads != "never" else "one thread"
    return f"{through}: {reason}; {count}"
