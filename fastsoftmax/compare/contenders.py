"""The contenders: this package's rungs and the peers of `peers`, those that can run here, on equal threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np

import fastsoftmax
from fastsoftmax.compare.contender import Array, Call, Contender, Unsupported
from fastsoftmax.compare.peers import PEERS
from fastsoftmax.compare.workloads import InputError, Op
from fastsoftmax.threads import available_cpus

__all__ = ["PEERS", "Call", "Contender", "Unsupported", "contenders", "equal_threads", "installed", "pin"]


def contenders(methods: Sequence[str] | None = None) -> tuple[Contender, ...]:
    """Return this package's rungs (all of them, or those named) and all peers, installed or not."""
    rungs = {rung.name: rung for rung in fastsoftmax.methods()}
    for name in methods or ():
        if name not in rungs:
            raise InputError(f"unknown method {name!r}; there are {', '.join(rungs)}")
    chosen = dict.fromkeys(methods) if methods else rungs
    return (*(_rung(name, rungs[name].note) for name in chosen), *PEERS)


def installed(candidates: Sequence[Contender]) -> tuple[list[Contender], dict[str, str]]:
    """Split candidates into those that can run, and the libraries of the others with the reason why not."""
    able: list[Contender] = []
    skipped: dict[str, str] = {}
    for contender in candidates:
        if obstacle := _obstacle(contender):
            skipped[contender.name] = obstacle
        else:
            able.append(contender)
    return able, skipped


def check_threads(threads: int) -> None:
    """Raise InputError if this process may not use so many CPUs."""
    available = available_cpus()
    if not 1 <= threads <= available:
        raise InputError(f"--threads {threads} is not possible: this process may use {available} CPU(s)")


def pin(threads: int) -> None:
    """Restrict this process to as many CPUs as the contenders may use threads.

    Every library then counts that many CPUs, and for XLA, which has no other reliable switch, it is the only
    way. Must come before the libraries are imported, since they size their thread pools then. Where the
    system has no affinity, each library's own switch has to do.
    """
    check_threads(threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


@contextmanager
def equal_threads(racers: Sequence[Contender], threads: int) -> Iterator[None]:
    """Hold every contender to the same number of threads."""
    from threadpoolctl import threadpool_limits

    before = fastsoftmax.get_num_threads()
    with ExitStack() as stack:
        stack.callback(fastsoftmax.set_num_threads, before)
        stack.enter_context(threadpool_limits(threads))
        fastsoftmax.set_num_threads(threads)
        for racer in racers:
            if racer.limit_threads is not None:
                racer.limit_threads(threads)
        yield


def _obstacle(contender: Contender) -> str:
    """Return why a contender cannot run here; nothing if it can."""
    try:
        contender.prepare(contender.ops[0], np.zeros((1, 2), np.float32), -1, 1)
    except ModuleNotFoundError as error:
        return f'not installed ({error.name} is missing: pip install "fastsoftmax[{contender.extra}]")'
    except (ImportError, OSError) as error:
        return f"does not import: {error}".splitlines()[0]
    return ""


def _rung(name: str, note: str) -> Contender:
    """Return the record of one of this package's rungs."""

    def prepare(op: Op, x: Array, axis: int, threads: int) -> Call:
        run: Callable[..., Any] = partial(getattr(fastsoftmax, op), x, axis=axis, method=name)
        out = np.zeros_like(run())
        return Call(run, reuse=partial(run, out=out))

    return Contender(f"fastsoftmax {name}", "fastsoftmax", prepare, note, ours=True, threads="its own switch")
