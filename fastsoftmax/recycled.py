"""Memory for large results: what a dead one has left serves the next.

The C library asks the system for so much memory anew each time, and the system clears each page before it gives it:
that takes as long as softmax itself. So the memory of the result that died last is kept. The system is told that it may
have it back, though (MADV_FREE): it takes it before it runs short of memory, and until then nothing is cleared.
"""

import contextlib
import mmap
import weakref
from collections import deque
from operator import methodcaller
from typing import Any

import numpy as np

from fastsoftmax.arrays import Array

LEAST = 2**25  # bytes: smaller memory the C library keeps itself
FREE: Any = getattr(mmap, "MADV_FREE", None)  # None where the system knows no such thing
HUGE: Any = getattr(mmap, "MADV_HUGEPAGE", None)


class Watcher(weakref.ref[Array]):
    """A reference to an array in memory that is lent: what it calls when no one sees that any more is not Python.

    Else a Ctrl-C that comes just then would be lost in it.
    """

    __hash__, __eq__ = object.__hash__, object.__eq__  # not those of the array, which has no hash
    memory: mmap.mmap
    madvise: Any
    others: tuple["Watcher", "Watcher"]


_kept: deque[Watcher] = deque(maxlen=1)
_lent: set[Watcher] = set()


def room_for(size: int) -> Array:
    """Return an uninitialised array of so many bytes."""
    memory = _take(size) if size >= LEAST and FREE is not None else None
    if memory is None:
        return np.empty(size, np.uint8)
    room: Array = np.frombuffer(memory, np.uint8)
    last = Watcher(room, _lent.discard)  # the youngest is called first
    keeps = Watcher(room, _kept.append)
    frees = Watcher(room, methodcaller("madvise", FREE))
    keeps.memory, frees.madvise, last.others = memory, memory.madvise, (frees, keeps)
    _lent.add(last)
    return room


def _take(size: int) -> mmap.mmap | None:
    """Return memory of so many bytes or up to twice as many, used before if there is such; None if none can be had."""
    try:
        memory = _kept.pop().memory
        if size <= len(memory) <= 2 * size:
            return memory
    except IndexError:
        pass
    step = 2 ** (size.bit_length() - 3)  # so the next may be a little larger
    try:
        memory = mmap.mmap(-1, -(-size // step) * step, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(FREE)
    except (OSError, OverflowError):
        return None
    if HUGE is not None:
        with contextlib.suppress(OSError):
            memory.madvise(HUGE)
    return memory
