"""What a contender is: a record, and the call it prepares."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastsoftmax.compare.workloads import OPS, Op

Array = NDArray[Any]


@dataclass(frozen=True)
class Call:
    """A function bound to its array: ``run`` is what is timed, ``fetch`` makes its result a NumPy array."""

    run: Callable[[], Any]
    fetch: Callable[[Any], Array] = np.asarray
    reuse: Callable[[], Any] | None = None
    """The same into a result that is already there, where the library can; `run` makes a new one."""


class Unsupported(Exception):
    """A contender has no such function for this type or axis."""


@dataclass(frozen=True)
class Contender:
    """One implementation of the three functions."""

    name: str
    library: str
    """The distribution it comes from, as pip names it."""
    prepare: Callable[[Op, Array, int, int], Call]
    """(op, array, axis, threads) -> the call to time; or Unsupported, or ImportError without the library."""
    note: str = ""
    """One line on how it works."""
    ours: bool = False
    ops: tuple[Op, ...] = OPS
    """The functions it has."""
    threads: str = "has one only"
    """How it is held to a number of threads."""
    limit_threads: Callable[[int], None] | None = None
    """Sets the library's own number of threads, where `threadpoolctl` or ``prepare`` cannot."""
    extra: str = "bench"
    """The extra of this package that brings its library."""

    @property
    def version(self) -> str:
        """The version of its library."""
        return importlib.metadata.version(self.library)

    def call(self, op: Op, x: Array, axis: int, threads: int) -> Call:
        """Return the call to time, or raise Unsupported; ``prepare`` for functions that it has."""
        if op not in self.ops:
            raise Unsupported(f"has no {op}")
        return self.prepare(op, x, axis, threads)
