"""How many threads a call may use, and threads for tasks of Python's: work that is more than one call of a kernel.

The threads are a few daemons that take numbered tasks, started when first needed. Kernels hold no lock of Python's, nor
do most of NumPy's copies, so they run side by side. The caller works too, and a call from inside a task, or with one
thread, runs where it is. A forked child starts with no threads and makes its own. For kernels alone see
`fastsoftmax.team`.
"""

import itertools
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

Task = Callable[[int], None]


def available_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start_value() -> int:
    chosen = os.environ.get("FASTSOFTMAX_NUM_THREADS", "")
    return int(chosen) if chosen.isdecimal() and int(chosen) > 0 else available_cpus()


class _Job:
    """Tasks 0 to count - 1, taken one after the other by whoever is free."""

    def __init__(self, task: Task, count: int) -> None:
        self.task = task
        self.count = count
        self.next = itertools.count()
        self.helpers = 0
        self.error: BaseException | None = None
        self.changed = threading.Condition()

    def work(self) -> None:
        while self.error is None:
            number = next(self.next)
            if number >= self.count:
                return
            try:
                self.task(number)
            except BaseException as error:
                self.error = error

    def help(self) -> None:
        """Work as a helper, unless the job is over."""
        with self.changed:
            if self.helpers < 0:
                return
            self.helpers += 1
        self.work()
        with self.changed:
            self.helpers -= 1
            self.changed.notify()

    def close(self) -> None:
        """Wait until no helper is at work, and let no other begin."""
        with self.changed:
            while self.helpers:
                self.changed.wait()
            self.helpers = -1


class Daemons:
    """Threads that all do one work, which never ends; started when first needed."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.name, self.work = name, work
        self.size = 0
        self.growing = threading.RLock()  # a signal handler may call while its thread is in here

    def grow(self, size: int) -> int:
        """Start threads until there are `size`, if that can be done, and return how many of these there are."""
        with self.growing:
            while self.size < size:
                try:
                    threading.Thread(target=self.work, name=self.name, daemon=True).start()
                except RuntimeError:  # no more threads are to be had: the caller does the work
                    break
                self.size += 1
        return min(self.size, size)


class _Pool(Daemons):
    def __init__(self) -> None:
        super().__init__("fastsoftmax", self._serve)
        self.jobs: SimpleQueue[_Job] = SimpleQueue()

    def _serve(self) -> None:
        _here.busy = True
        while True:
            self.jobs.get().help()


_here = threading.local()
_pool = _Pool()
_num_threads = _start_value()


def _forget_threads() -> None:
    global _pool
    _pool = _Pool()
    _here.busy = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def set_num_threads(n: int) -> None:
    """Set how many threads a call may use, in the whole process.

    Parameters
    ----------
    n : int
        At least 1. It may exceed the number of CPUs.

    Raises
    ------
    TypeError
        If n is not an integer.
    ValueError
        If n is less than 1.

    Notes
    -----
    The start value is ``FASTSOFTMAX_NUM_THREADS`` from the environment, else the number of CPUs that this process may
    use. Results do not depend on it, to the last bit.

    Examples
    --------
    >>> import fastsoftmax
    >>> before = fastsoftmax.get_num_threads()
    >>> fastsoftmax.set_num_threads(1)
    >>> fastsoftmax.get_num_threads()
    1
    >>> fastsoftmax.set_num_threads(before)
    """
    global _num_threads
    try:
        number = n.__index__()
    except AttributeError:
        raise TypeError(f"the number of threads must be an integer, not {n!r}") from None
    if number < 1:
        raise ValueError(f"the number of threads must be at least 1, not {number}")
    _num_threads = number


def get_num_threads() -> int:
    """Return how many threads a call may use.

    Returns
    -------
    int
        What `set_num_threads` set, or its start value.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.get_num_threads() >= 1
    True
    """
    return _num_threads


def run_here(task: Task, count: int) -> None:
    """Call task(0) to task(count - 1) in this thread."""
    for number in range(count):
        task(number)


def run(task: Task, count: int) -> None:
    """Call task(0) to task(count - 1), in any order, on as many threads as allowed and useful.

    An exception in a task, or a Ctrl-C, stops the taking of tasks, waits for those at work, and is raised here.
    """
    threads = min(_num_threads, count)
    if threads <= 1 or getattr(_here, "busy", False):
        run_here(task, count)
        return
    pool, job = _pool, _Job(task, count)
    for _ in range(pool.grow(threads - 1)):
        pool.jobs.put(job)
    _here.busy = True
    try:
        job.work()
    finally:
        _here.busy = False
        job.close()
    if job.error is not None:
        raise job.error
