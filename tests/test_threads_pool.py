"""The pool itself: every task once, errors raised where the call was made, nothing left at work or in memory."""

import gc
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import run_python

from fastsoftmax import set_num_threads, threads

pytestmark = pytest.mark.usefixtures("restore_threads")
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and POSIX signals")


class Record:
    """A task that notes its numbers and who did them."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.begun = []
        self.done = []
        self.workers = set()

    def __call__(self, number):
        self.begun.append(number)
        self.workers.add(threading.get_ident())
        time.sleep(self.seconds)
        self.done.append(number)

    def at_work(self):
        return len(self.begun) - len(self.done)


@pytest.mark.parametrize("allowed", [1, 2, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 500])
def test_every_task_is_done_once(allowed, count):
    set_num_threads(allowed)
    task = Record()
    assert threads.run(task, count) is None
    assert sorted(task.done) == list(range(count))
    assert len(task.workers) <= min(allowed, max(count, 1))


def test_run_here_is_in_order_and_in_this_thread():
    set_num_threads(4)
    task = Record()
    threads.run_here(task, 9)
    assert task.done == list(range(9))
    assert task.workers == {threading.get_ident()}
    threads.run_here(task, 0)
    assert len(task.done) == 9


def test_the_caller_works_too_and_helpers_help():
    set_num_threads(3)
    gate = threading.Barrier(3, timeout=30)  # only three threads at once get past it
    workers = set()

    def task(number):
        workers.add(threading.get_ident())
        gate.wait()

    threads.run(task, 3)
    assert len(workers) == 3
    assert threading.get_ident() in workers


def test_two_threads_are_two():
    set_num_threads(2)
    gate = threading.Barrier(2, timeout=30)
    threads.run(lambda number: gate.wait(), 2)


def test_one_thread_or_one_task_stays_here():
    for allowed, count in ((1, 50), (4, 1)):
        set_num_threads(allowed)
        task = Record()
        threads.run(task, count)
        assert task.workers == {threading.get_ident()}


def test_helpers_are_kept_and_no_more_than_asked_for():
    def helpers():
        return {t.ident for t in threading.enumerate() if t.name == "fastsoftmax"}

    set_num_threads(3)
    threads.run(Record(0.001), 20)
    before = helpers()
    assert len(before) >= 2
    for _ in range(20):
        threads.run(Record(), 20)
    assert helpers() == before
    set_num_threads(len(before) + 3)
    threads.run(Record(0.001), 50)
    assert len(helpers()) == len(before) + 2
    assert all(t.daemon for t in threading.enumerate() if t.ident in helpers())


@pytest.mark.parametrize("allowed", [1, 4])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_an_error_is_raised_here_and_ends_the_taking_of_tasks(error, allowed):
    set_num_threads(allowed)
    record = Record(0.001)

    def task(number):
        if number == 3:
            raise error("from a task")
        record(number)

    with pytest.raises(error, match="from a task"):
        threads.run(task, 1000)
    assert record.at_work() == 0
    assert len(record.done) < 500
    after = list(record.done)
    time.sleep(0.02)
    assert record.done == after

    again = Record()
    threads.run(again, 100)
    assert sorted(again.done) == list(range(100))


def test_when_all_fail_one_error_is_raised():
    set_num_threads(4)

    def task(number):
        time.sleep(0.001)
        raise ValueError(number)

    with pytest.raises(ValueError, match=r"^\d+$"):
        threads.run(task, 100)


def test_no_task_is_at_work_when_run_returns():
    set_num_threads(4)
    for seconds in (0.0, 0.002):
        for count in (2, 5, 40):
            task = Record(seconds)
            threads.run(task, count)
            assert task.at_work() == 0
            assert len(task.done) == count


def test_nested_runs_stay_in_their_thread():
    set_num_threads(4)
    inner_workers = []

    def task(number):
        inner = Record()
        threads.run(inner, 6)
        assert inner.done == list(range(6))
        inner_workers.append((threading.get_ident(), inner.workers))
        time.sleep(0.001)

    threads.run(task, 30)
    assert len(inner_workers) == 30
    assert all(workers == {outer} for outer, workers in inner_workers)


def test_an_error_from_a_nested_run_passes_through():
    set_num_threads(3)

    def inner(number):
        if number == 2:
            raise KeyError("inner")

    with pytest.raises(KeyError, match="inner"):
        threads.run(lambda number: threads.run(inner, 5), 4)
    task = Record(0.002)  # this thread may share its work again
    threads.run(task, 50)
    assert len(task.workers) > 1


def test_many_callers_at_once_get_their_own_tasks():
    set_num_threads(3)

    def call(seed):
        for count in range(1, 40):
            task = Record()
            threads.run(task, count)
            assert sorted(task.done) == list(range(count)), seed
        return seed

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == list(range(8))


def test_what_a_task_holds_is_freed():
    set_num_threads(4)

    class Held:
        pass

    def call():
        held = Held()
        threads.run(lambda number, held=held: None, 2)
        return weakref.ref(held)

    held = [call() for _ in range(50)]
    deadline = time.monotonic() + 20
    while any(h() is not None for h in held) and time.monotonic() < deadline:
        time.sleep(0.01)  # helpers that came late put their job away
        gc.collect()
    assert all(h() is None for h in held)


@needs_posix
def test_a_forked_child_has_a_pool_of_its_own():
    run_python("""if True:
        import os, signal, threading
        from fastsoftmax import set_num_threads, threads
        set_num_threads(3)
        done = []
        threads.run(done.append, 40)
        child = os.fork()
        if child == 0:
            signal.alarm(15)
            done.clear()
            threads.run(done.append, 40)
            assert sorted(done) == list(range(40))
            gate = threading.Barrier(3, timeout=10)  # the child has helpers, too
            threads.run(lambda number: gate.wait(), 3)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        threads.run(done.append, 40)
        assert sorted(done) == sorted([*range(40)] * 2)
    """)


@needs_posix
def test_a_fork_from_inside_a_task():
    run_python("""if True:
        import os, signal, threading
        from fastsoftmax import set_num_threads, threads
        set_num_threads(3)
        def task(number):
            child = os.fork()
            if child == 0:
                signal.alarm(15)
                done = []
                threads.run(done.append, 40)
                gate = threading.Barrier(3, timeout=10)
                threads.run(lambda number: gate.wait(), 3)
                os._exit(sorted(done) != list(range(40)))
            assert os.waitpid(child, 0)[1] == 0
        threads.run(task, 6)
    """)


@needs_posix
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_signal_handler_may_run_tasks_while_the_pool_grows(moment):
    run_python(f"""if True:
        import os, signal, threading
        from fastsoftmax import set_num_threads, threads
        set_num_threads(4)
        done, handled = [], []
        def handler(number, frame):
            handled.append(number)
            threads.run(done.append, 40)
        signal.signal(signal.SIGUSR1, handler)
        signal.alarm(15)
        start = threading.Thread.start
        def interrupted(self):
            if {moment!r} == "after":
                start(self)
            threading.Thread.start = start
            os.kill(os.getpid(), signal.SIGUSR1)
            if {moment!r} == "before":
                start(self)
        threading.Thread.start = interrupted
        threads.run(done.append, 40)
        assert len(handled) == 1
        assert sorted(done) == sorted([*range(40)] * 2)
    """)


@needs_posix
def test_where_no_thread_can_be_started_the_caller_does_it_all():
    run_python("""if True:
        import threading
        from fastsoftmax import set_num_threads, threads
        set_num_threads(4)
        def fail(self):
            raise RuntimeError("can't start new thread")
        threading.Thread.start = fail
        done = []
        threads.run(done.append, 40)
        assert done == list(range(40))
    """)
