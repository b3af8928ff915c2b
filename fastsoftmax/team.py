"""The threads that share the work of kernels.

A thread that wants Python's lock waits for all others, and to wake one takes as long as much of the work. So these
(daemons of Python's, started when first needed) enter compiled code once, and stay there: see
`fastsoftmax.kernels.jobs`. One caller at a time has their help, others do their work alone. A forked child starts with
no threads and makes its own. Where the system has no POSIX semaphores, `fastsoftmax.threads` does it.
"""

import ctypes
import functools
import os
import signal
import sys
from typing import Any

import numpy as np
from numba import types

from fastsoftmax import threads
from fastsoftmax.jit import Kernel, compiled, unchecked
from fastsoftmax.kernels.atomic import FAILURE
from fastsoftmax.kernels.jobs import BYTES, LINE, SEMAPHORE, lead, serve

LEAST, MOST = 2**14, 2**17  # elements of a part: what it takes to hand one out is little beside them, and ...
PARTS = 8  # ... each thread gets so many, so that none waits long for the last; ...
FEW = 3  # ... so many where to begin one costs more, however large they are
ROUND = 16  # rows: narrow and short ones are done so many at once
AT_ONCE = 2**24  # elements that one call of a kernel takes in any case, ...
FEW_AT_ONCE = 2**27  # ... and where parts are few: Ctrl-C waits for it


class _Team(threads.Daemons):
    """The memory of a team, and its threads."""

    def __init__(self) -> None:
        super().__init__("fastsoftmax team", self._serve)
        self.room = np.zeros(BYTES + LINE, np.uint8)
        self.address = -(-self.room.ctypes.data // LINE) * LINE
        self.works = _begin_semaphore(self.address + SEMAPHORE)

    def grow(self, size: int) -> int:
        """Start threads until there are `size`, if that can be done, and return how many of these there are."""
        if self.size < size:
            _helper()  # or each would wait for it
        return super().grow(size)

    def _serve(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for threads that run Python
        _helper()(self.address)


def _helper() -> Any:
    """Return what helpers do, compiled."""
    return unchecked(compiled(serve, types.void(types.intp)))


def _begin_semaphore(address: int) -> bool:
    """Make a semaphore of 0 at an address, and return whether the system has such."""
    try:
        return sys.platform != "win32" and bool(ctypes.CDLL(None).sem_init(ctypes.c_void_p(address), 0, 0) == 0)
    except (AttributeError, OSError):
        return False


_team = _Team()


def _forget_threads() -> None:
    global _team
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def share(
    kernel: Kernel,
    dtype: np.dtype[Any],
    count: int,
    unit: int,
    before: Any,
    behind: Any,
    threaded: bool,
    in_few: bool = False,
) -> None:
    """Call kernel(*before, first, last, *behind) for parts of 0 to count, on as many threads as allowed and useful.

    Parameters
    ----------
    kernel : Kernel
        Its parameters must be of the kinds that it was declared with; nothing checks them.
    dtype : dtype
        For which storage type.
    count : int
        The end of the range: of rows, strips, pieces.
    unit : int
        Elements in each of these.
    before, behind : tuple
        The arguments before and behind those that say which part of the range it is.
    threaded : bool
        Whether others than this thread may take part, ...
    in_few : bool, optional
        ... each with few parts.

    Raises
    ------
    MemoryError
        If a kernel found no room for its notes.

    Notes
    -----
    A Ctrl-C waits for `AT_ONCE` elements at most, or `FEW_AT_ONCE`.
    """
    allowed = threads.get_num_threads() if threaded else 1
    at_once = max(1, (FEW_AT_ONCE if in_few else AT_ONCE) // unit)
    if kernel.later:
        behind = *behind, *kernel.cells(dtype)
    alone = kernel.unchecked(dtype)
    for first in range(0, count, at_once):
        last = min(first + at_once, count)
        step = -(-(last - first) // (FEW * allowed)) if in_few else _step(last - first, unit, allowed)
        helpers = min(allowed, -(-(last - first) // step)) - 1
        if helpers == 0:
            while alone(*before, first, last, *behind):
                kernel.complete(dtype)
            continue
        while _left_by_team(kernel, dtype, first, last, step, helpers, before, behind):
            kernel.complete(dtype)


def _left_by_team(
    kernel: Kernel, dtype: np.dtype[Any], first: int, last: int, step: int, helpers: int, before: Any, behind: Any
) -> Any:
    """Call a kernel for parts of a range; return what is left undone, 0 or None if that is nothing."""
    if not _team.works:
        return _share_with_python(kernel[dtype], first, last, step, before, behind)
    team = _team
    leader, address = _leader(kernel, dtype, len(before))
    nothing = 0 if kernel.later else None
    left = leader(team.address, team.grow(helpers), address, first, last, step, before, behind, nothing)
    if left >= FAILURE:
        raise MemoryError("no room for a kernel's notes")
    return left


def _step(count: int, unit: int, sharers: int) -> int:
    """Return how many of a range make a part, if so many threads share it."""
    step = max(LEAST // unit, min(MOST // unit, count // (PARTS * sharers)), 1)
    return step if step < 2 * ROUND else step // ROUND * ROUND


def _share_with_python(kernel: Any, first: int, last: int, step: int, before: Any, behind: Any) -> int:
    """Do it as tasks of Python's; return how many of them left something undone."""
    left: list[int] = []

    def task(number: int) -> None:
        begin = first + number * step
        if kernel(*before, begin, min(begin + step, last), *behind):
            left.append(number)

    threads.run(task, -(-(last - first) // step))
    return len(left)


@functools.cache
def _leader(kernel: Kernel, dtype: np.dtype[Any], before: int) -> tuple[Any, int]:
    """Return `lead` for a kernel with so many arguments before those of the range, and where the kernel is."""
    kinds = kernel.signature(dtype).args
    arguments = types.Tuple(kinds[:before]), types.Tuple(kinds[before + 2 :])
    left = types.intp if kernel.later else types.none
    return unchecked(compiled(lead, types.intp(*[types.intp] * 6, *arguments, left))), kernel.address(dtype)
