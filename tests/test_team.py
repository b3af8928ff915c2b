"""The team: every part of a kernel's range once, by no more threads than allowed, awake or asleep, forked or not."""

import ctypes
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import OPS, call, run_python, same_bits

from fastsoftmax import jit, set_num_threads, team
from fastsoftmax.jit import kernel
from fastsoftmax.kernels.atomic import add, read
from fastsoftmax.kernels.jobs import SEMAPHORE

pytestmark = [
    pytest.mark.usefixtures("restore_threads"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs POSIX semaphores"),
]
FLOAT = np.dtype(np.float32)
PATIENCE = 10**9  # looks, some seconds


@kernel("in", "int", "int", "reals")
def count(x, first, last, counts):
    """Count how often each number of the range comes."""
    for i in range(first, last):
        counts[i] += 1


@kernel("in", "int", "int", "int", "int", "reals")
def meet(x, first, last, address, others, met):
    """Wait until so many parts are at work at once, and note whether they were."""
    add(address, 1)
    for _ in range(PATIENCE):
        if read(address) >= others:
            met[first] = 1
            return


@kernel("in", "int", "int", "int", "reals")
def crowd(x, first, last, address, most):
    """Note how many parts are at work while this one is."""
    at_work = add(address, 1) + 1
    for _ in range(20_000):
        at_work = max(at_work, read(address))
    add(address, -1)
    most[first] = at_work


@kernel("in", "int", "int", "int", "reals")
def fail(x, first, last, at, counts):
    """Fail where the range has a number, or everywhere if that is negative."""
    for i in range(first, last):
        counts[i] += 1
        if at in (i, -1):
            raise MemoryError


NOTHING = np.zeros(1, np.float32)


@pytest.fixture(scope="module", autouse=True)
def kernels_of_these_tests_are_not_kept(tmp_path_factory):
    """Have them compiled anew: kept ones are told apart by the package's sources only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTSOFTMAX_CACHE_DIR", str(tmp_path_factory.mktemp("kernels")))
        yield


def share(kernel, parts, *behind, unit=team.MOST):
    team.share(kernel, FLOAT, parts, unit, (NOTHING,), behind, threaded=True)


def number():
    """Return a number in memory, and its address."""
    array = np.zeros(1, np.int64)
    return array, array.ctypes.data


def all_meet(parts):
    """Tell whether so many parts are at work at once."""
    met, (_array, address) = np.zeros(parts), number()
    share(meet, parts, address, parts, met)
    return met.all()


@pytest.mark.parametrize("allowed", [1, 2, 3, 8])
def test_every_part_comes_once(allowed, monkeypatch):
    monkeypatch.setattr(team, "AT_ONCE", 2**20)
    set_num_threads(allowed)
    for size in (0, 1, 2, 7, 63, 64, 65, 1000, 33_333):
        for unit in (1, 100, 5000, team.MOST, 2**22):
            counts = np.zeros(size + 1)
            share(count, size, counts, unit=unit)
            assert (counts[:-1] == 1).all()
            assert counts[-1] == 0


def test_helpers_work_beside_the_leader():
    set_num_threads(3)
    assert all_meet(3)


def test_sleeping_helpers_are_woken():
    set_num_threads(3)
    for _ in range(5):
        time.sleep(0.05)
        assert all_meet(3)


def test_helpers_without_work_sleep():
    set_num_threads(4)
    assert all_meet(4)
    time.sleep(0.2)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.25


@pytest.mark.parametrize("allowed", [1, 2, 4])
def test_no_more_are_at_work_than_allowed(allowed):
    set_num_threads(6)
    assert all_meet(6)  # so many there are
    set_num_threads(allowed)
    for _ in range(20):
        most, (_array, address) = np.zeros(50), number()
        share(crowd, 50, address, most)
        assert 1 <= most.max() <= allowed


@pytest.mark.parametrize("allowed", [1, 4])
@pytest.mark.parametrize("at", [-1, 0, 17, 299])
def test_a_failure_is_raised_here_and_the_team_goes_on(allowed, at):
    set_num_threads(allowed)
    for _ in range(10):
        with pytest.raises(MemoryError):
            share(fail, 300, at, np.zeros(300))
        counts = np.zeros(300)
        share(fail, 300, 300, counts)
        assert (counts == 1).all()


def test_one_leader_has_the_team_and_others_work_alone():
    set_num_threads(3)

    def lead(seed):
        for size in range(1, 60):
            counts = np.zeros(size)
            share(count, size, counts)
            assert (counts == 1).all(), seed

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lead, range(8)))
    assert all_meet(3)


def test_jobs_in_quick_succession():
    set_num_threads(4)
    counts = np.zeros(64)
    for _ in range(3000):
        share(count, 64, counts)
    assert (counts == 3000).all()


def test_no_one_is_woken_in_vain():
    set_num_threads(6)
    value = ctypes.c_int()
    place = ctypes.c_void_p(team._team.address + SEMAPHORE)
    for _ in range(300):
        share(count, 64, np.zeros(64))
        time.sleep(0.0005)  # some fall asleep meanwhile, some are about to
        ctypes.CDLL(None).sem_getvalue(place, ctypes.byref(value))
        assert 0 <= value.value < 6


def test_the_address_of_a_kernel_is_asked_for_where_no_fork_happens():
    address, compiling = count.address(FLOAT), jit._compiling
    with ThreadPoolExecutor(1) as pool:
        with compiling:
            asked = pool.submit(count.address, FLOAT)
            time.sleep(0.1)
            assert not asked.done()
        assert asked.result(10) == address


def test_threads_are_kept_and_no_more_than_asked_for():
    def helpers():
        return {t.ident for t in threading.enumerate() if t.name == "fastsoftmax team"}

    set_num_threads(3)
    assert all_meet(3)
    before = helpers()
    assert len(before) >= 2
    for _ in range(20):
        share(count, 64, np.zeros(64))
    assert helpers() == before
    set_num_threads(len(before) + 3)
    share(count, 64, np.zeros(64))
    assert len(helpers()) == len(before) + 2
    assert all(t.daemon for t in threading.enumerate() if t.ident in helpers())


@pytest.mark.parametrize("op", OPS)
def test_where_there_are_no_semaphores_python_shares_the_work(op, rng, monkeypatch):
    inputs = [(rng.normal(0, 9, shape).astype(np.float32), axis) for shape, axis in (((3000, 101), 1), ((700, 500), 0))]
    inputs.append((rng.normal(0, 9, 300_001).astype(np.float32), None))
    for x, axis in inputs:
        set_num_threads(1)
        one = call(op, x, axis)
        set_num_threads(3)
        with monkeypatch.context() as patch:
            patch.setattr(team._team, "works", False)
            patch.setattr(team, "_leader", None)
            same_bits(call(op, x, axis), one)


def test_where_no_thread_can_be_started_the_leader_does_it_all():
    run_python("""if True:
        import threading
        import numpy as np
        from fastsoftmax import set_num_threads, softmax
        x = np.random.default_rng(0).normal(size=(600, 1000)).astype(np.float32)
        set_num_threads(1)
        one = softmax(x, 1)
        set_num_threads(4)
        def fail(self):
            raise RuntimeError("can't start new thread")
        threading.Thread.start = fail
        assert np.array_equal(softmax(x, 1), one)
    """)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_signal_handler_may_lead_while_the_team_grows(moment):
    run_python(f"""if True:
        import os, signal, threading
        import numpy as np
        from fastsoftmax import set_num_threads, softmax
        x = np.random.default_rng(0).normal(size=(600, 1000)).astype(np.float32)
        set_num_threads(1)
        one = softmax(x, 1)
        set_num_threads(2)
        softmax(x, 1)  # compiles
        set_num_threads(5)
        handled = []
        def handler(number, frame):
            handled.append(np.array_equal(softmax(x, 1), one))
        signal.signal(signal.SIGUSR1, handler)
        signal.alarm(30)
        start = threading.Thread.start
        def interrupted(self):
            if {moment!r} == "after":
                start(self)
            threading.Thread.start = start
            os.kill(os.getpid(), signal.SIGUSR1)
            if {moment!r} == "before":
                start(self)
        threading.Thread.start = interrupted
        assert np.array_equal(softmax(x, 1), one)
        assert handled == [True]
    """)


def test_a_forked_child_has_a_team_of_its_own():
    run_python("""if True:
        import os, signal
        import numpy as np
        from fastsoftmax import set_num_threads, softmax, team
        x = np.random.default_rng(0).normal(size=(600, 1000)).astype(np.float32)
        set_num_threads(3)
        one = softmax(x, 1)
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            assert team._team.size == 0
            assert np.array_equal(softmax(x, 1), one)
            os._exit(0 if team._team.size == 2 else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert np.array_equal(softmax(x, 1), one)
    """)
