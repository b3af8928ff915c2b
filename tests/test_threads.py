"""Threads, forks, signals and interpreter exit: always right, the same bits, never a crash or a hang."""

import itertools
import os
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import FLOATS, OPS, SAFE, call, output_of, run_python, same_bits, start_python

import fastsoftmax

SHAPES = [
    ((1, 1_000_003), 1),
    ((3, 200_001), 1),
    ((5000, 257), 1),
    ((200_000, 5), 1),
    ((700, 1100), 0),
    ((300_000, 4), 0),
    ((1_000_003,), None),
]

# What every script starts with: data large enough for the pool, and a check that needs no library but NumPy.
PRELUDE = """
import faulthandler, multiprocessing, os, signal, sys, threading, time
import numpy as np
import fastsoftmax

faulthandler.dump_traceback_later(100, exit=True)
fastsoftmax.set_num_threads(4)
x = np.random.default_rng(0).normal(0, 5, (40, 30_000)).astype(np.float32)
e = np.exp(x.astype(float))
p = e / e.sum(axis=1, keepdims=True)

def check(rounds=1):
    for _ in range(rounds):
        np.testing.assert_allclose(fastsoftmax.softmax(x, 1), p, rtol=1e-5)
        np.testing.assert_allclose(fastsoftmax.softmax(x, 1, method="parallel"), p, rtol=1e-5)
        np.testing.assert_allclose(fastsoftmax.logsumexp(x, 1), np.log(e.sum(axis=1)), rtol=1e-6)
        np.testing.assert_allclose(fastsoftmax.logsumexp(x.reshape(-1)), np.log(e.sum()), rtol=1e-6)
        np.testing.assert_allclose(fastsoftmax.softmax(x.T[:9], 0), e.T[:9] / e.T[:9].sum(axis=0), rtol=1e-5)

def in_a_fork(work):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, status
            return
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise SystemExit("the child hangs")
"""


def run_script(body, env=()):
    return run_python(PRELUDE + textwrap.dedent(body), env=env)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

# -- in this process ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "parallel"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.usefixtures("restore_threads")
def test_any_number_of_threads_gives_the_same_bits(op, dtype, method, rng):
    for shape, axis in SHAPES:
        x = rng.normal(0, 9, shape).astype(dtype)
        fastsoftmax.set_num_threads(1)
        one = call(op, x, axis, method=method)
        for threads in (2, 3, 8):
            fastsoftmax.set_num_threads(threads)
            same_bits(call(op, x, axis, method=method), one)


@pytest.mark.usefixtures("restore_threads")
def test_columns_of_tiny_shares_are_the_same_however_they_are_cut_and_in_place():
    x = np.full((2457, 257), -102.5, np.float32)
    x[::8] = -108
    x[2400] = 0  # raises all pivots, far behind what is tiny then
    fastsoftmax.set_num_threads(1)
    one = fastsoftmax.softmax(x, 0)
    for threads in (2, 4):
        fastsoftmax.set_num_threads(threads)
        same_bits(fastsoftmax.softmax(x, 0), one)
    same_bits(fastsoftmax.softmax(x, 0, out=x), one)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.usefixtures("restore_threads")
def test_non_finite_values_in_any_piece_of_a_long_row(op, special, rng):
    x = rng.normal(0, 3, 600_000).astype(np.float32)
    for position, threads in itertools.product((0, 1, 65_535, 65_536, 300_000, 599_999), (1, 3)):
        fastsoftmax.set_num_threads(threads)
        y = x.copy()
        y[position] = special
        for method in ("auto", "parallel"):
            got = call(op, y, method=method)
            if special == -np.inf:
                assert not np.isnan(got).any()
                assert op == "logsumexp" or got[position] == (0 if op == "softmax" else -np.inf)
            elif op == "logsumexp":
                np.testing.assert_equal(float(got), special)
            else:
                assert np.isnan(got).all()
    y = np.full(600_000, -np.inf, np.float32)
    assert np.isnan(call("softmax", y, method="parallel")).all()
    assert call("logsumexp", y, method="parallel") == -np.inf
    y[400_000] = 3
    assert call("softmax", y, method="parallel")[400_000] == 1


@pytest.mark.usefixtures("restore_threads")
def test_many_python_threads_at_once(rng):
    fastsoftmax.set_num_threads(3)
    inputs = [
        rng.normal(0, 5, shape).astype(dtype)
        for dtype in (np.float32, np.float64, np.float16)
        for shape in ((3, 4), (100, 1000), (2, 150_000), (40_000, 9))
    ]
    work = [(op, x, axis, method) for op in OPS for x in inputs for axis in (0, 1) for method in ("auto", "parallel")]
    expected = [call(op, x, axis, method=method) for op, x, axis, method in work]

    def run(seed):
        for i in np.random.default_rng(seed).permutation(len(work))[:40]:
            op, x, axis, method = work[i]
            same_bits(call(op, x, axis, method=method), expected[i])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))


@pytest.mark.usefixtures("restore_threads")
def test_the_thread_count_may_change_while_others_compute(rng):
    x = rng.normal(0, 5, (60, 9000)).astype(np.float32)
    expected = fastsoftmax.softmax(x, 1, method="parallel")

    def run(seed):
        for i in range(30):
            if seed % 2:
                fastsoftmax.set_num_threads(1 + (seed + i) % 5)
            same_bits(fastsoftmax.softmax(x, 1, method="parallel"), expected)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run, range(6)))


@pytest.mark.usefixtures("restore_threads")
def test_set_num_threads():
    for n in (1, 2, 7, np.int64(3)):
        fastsoftmax.set_num_threads(n)
        assert fastsoftmax.get_num_threads() == n
        assert type(fastsoftmax.get_num_threads()) is int
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="thread"):
            fastsoftmax.set_num_threads(wrong)
    for wrong in (1.5, 2.0, "2", None, [2]):
        with pytest.raises(TypeError):
            fastsoftmax.set_num_threads(wrong)
    assert fastsoftmax.get_num_threads() == 3  # as before the errors


@pytest.mark.parametrize("method", SAFE)
def test_calls_from_inside_a_pool_worker(method, rng):
    x = rng.normal(0, 5, (4, 150_000))
    expected = fastsoftmax.softmax(x, 1, method=method)
    with ThreadPoolExecutor(2) as pool:
        same_bits(pool.submit(fastsoftmax.softmax, x, 1, method=method).result(60), expected)


# -- in processes of their own ------------------------------------------------------------------------------


def test_start_value_from_the_environment():
    show = "import fastsoftmax; print(fastsoftmax.get_num_threads())"
    assert run_python(show, env={"FASTSOFTMAX_NUM_THREADS": "3"}.items()).strip() == "3"
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for nothing in ("", "0", "-1", "two"):
        assert int(run_python(show, env={"FASTSOFTMAX_NUM_THREADS": nothing}.items())) == available


@needs_fork
def test_fork_after_use_and_a_grandchild():
    run_script("""
        check()
        in_a_fork(check)
        in_a_fork(lambda: (check(), in_a_fork(check)))
        in_a_fork(lambda: in_a_fork(check))
        check()
    """)


@needs_fork
def test_fork_before_the_first_call():
    run_script("in_a_fork(check)\ncheck()")


@needs_fork
def test_fork_from_a_thread_and_while_another_computes():
    run_script("""
        check()
        stop = threading.Event()
        failed = []
        def busy():
            try:
                while not stop.is_set():
                    check()
            except BaseException as error:
                failed.append(error)
                raise
        threads = [threading.Thread(target=busy) for _ in range(2)]
        for thread in threads: thread.start()
        for _ in range(5):
            in_a_fork(check)
        forker = threading.Thread(target=lambda: in_a_fork(check))
        forker.start(); forker.join()
        stop.set()
        for thread in threads: thread.join()
        assert not failed, failed
    """)


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_multiprocessing(start, tmp_path):
    if start not in __import__("multiprocessing").get_all_start_methods():
        pytest.skip(f"no {start} here")
    script = tmp_path / "script.py"  # spawn wants a file to import
    script.write_text(
        PRELUDE
        + textwrap.dedent(f"""
        def work(i):
            check()
            return float(fastsoftmax.logsumexp(x[i]))

        if __name__ == "__main__":
            check()
            with multiprocessing.get_context("{start}").Pool(2) as pool:
                results = pool.map(work, range(4))
            np.testing.assert_allclose(results, np.log(e.sum(axis=1))[:4], rtol=1e-6)
    """)
    )
    run_python("", path=script)


def test_first_calls_from_eight_threads_at_once():
    run_script("""
        gate = threading.Barrier(8)
        failed = []
        def first():
            try:
                gate.wait()
                check()
            except BaseException as error:
                failed.append(error)
                raise
        threads = [threading.Thread(target=first) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert not failed, failed
    """)


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_numbas_threading_layer_does_not_matter(layer):
    run_script(
        """
        threads = [threading.Thread(target=check, args=(3,)) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        if hasattr(os, "fork"):
            in_a_fork(check)
        """,
        env={"NUMBA_THREADING_LAYER": layer}.items(),
    )


def test_interpreter_exit_with_the_pool_alive():
    run_script("check()")
    run_script("""
        check()
        threading.Thread(target=check, args=(5,)).start()
        sys.exit(0)
    """)
    run_script("""
        import atexit
        atexit.register(check)  # registered last, so it runs first; the pool may be gone or not
        check()
    """)
    run_script("""
        check()
        threading.Thread(target=check, args=(1000,), daemon=True).start()
        time.sleep(0.1)
    """)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_an_interrupt_leaves_the_library_usable():
    out = run_script("""
        y = np.random.default_rng(1).normal(size=(64, 200_000)).astype(np.float32)
        fastsoftmax.softmax(y, 1, method="parallel")
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process has none
        caught = 0
        for k in range(5):
            sent = []
            def interrupt():
                time.sleep(0.05 + 0.013 * k)
                sent.append(time.monotonic())
                os.kill(os.getpid(), signal.SIGINT)
            thread = threading.Thread(target=interrupt)
            thread.start()
            try:
                while True:
                    fastsoftmax.softmax(y, 1, method=("parallel", "auto")[k % 2])
            except KeyboardInterrupt:
                caught += 1
                assert time.monotonic() - sent[0] < 5
            thread.join()
            check()
        print(caught)
    """)
    assert out.strip() == "5"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_handlers_of_signals_and_calls_inside_them():
    run_script("""
        calls = []
        def handler(number, frame):
            calls.append(number)
            check()  # nested in whatever the main thread was doing
        for number in (signal.SIGTERM, signal.SIGABRT, signal.SIGUSR1):
            signal.signal(number, handler)
        check()
        def send():
            for _ in range(10):
                time.sleep(0.02)
                os.kill(os.getpid(), signal.SIGUSR1)
        thread = threading.Thread(target=send)
        thread.start()
        while thread.is_alive():
            check()
        thread.join()
        check()
        assert signal.SIGUSR1 in calls
        if hasattr(os, "fork"):
            in_a_fork(check)
        assert signal.SIGABRT not in calls
    """)


@pytest.mark.parametrize("method", SAFE)
def test_no_call_of_a_kernel_takes_so_long_that_an_interrupt_waits(method, monkeypatch):
    ranges = []
    unchecked = fastsoftmax.jit.Kernel.unchecked

    def noting(kernel, dtype):
        run = unchecked(kernel, dtype)

        def call(*arguments):
            ranges.append(arguments[6:8])
            run(*arguments)

        return call

    x = np.random.default_rng(0).normal(0, 3, (45, 200)).astype(np.float32)
    whole = fastsoftmax.softmax(x, 1, method=method)
    monkeypatch.setattr(fastsoftmax.jit.Kernel, "unchecked", noting)
    monkeypatch.setattr(fastsoftmax.team, "AT_ONCE", 2000)
    monkeypatch.setattr(fastsoftmax.direct, "compute", lambda *arguments: None)
    same_bits(fastsoftmax.softmax(x, 1, method=method, out=np.empty((90, 200), np.float32)[::2]), whole)
    assert ranges == [(0, 10), (10, 20), (20, 30), (30, 40), (40, 45)]


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_eight_threads_of_two_hundred_calls_whatever_the_layer(layer):
    script = PRELUDE + textwrap.dedent("""
        from concurrent.futures import ThreadPoolExecutor
        faulthandler.dump_traceback_later(380, exit=True)  # where nothing is compiled yet, that takes long
        rng = np.random.default_rng(3)
        inputs = [
            (rng.normal(0, 5, shape).astype(dtype), axis)
            for dtype in (np.float32, np.float64, np.int16)
            for shape, axis in (((3, 4), 1), ((40, 300), 1), ((300, 40), 0), ((2, 70_000), 1))
        ]
        work = [(getattr(fastsoftmax, op), x, axis, method) for op in ("softmax", "log_softmax", "logsumexp")
                for x, axis in inputs for method in ("auto", "parallel")]
        expected = [function(x, axis, method=method) for function, x, axis, method in work]

        def run(seed):
            for i in np.random.default_rng(seed).choice(len(work), 200):
                function, x, axis, method = work[i]
                assert np.array_equal(function(x, axis, method=method), expected[i])
            return 200

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(run, range(8))) == 1600
    """)
    output_of(start_python(script, env={"NUMBA_THREADING_LAYER": layer}.items()), timeout=400)


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_in_a_joblib_worker(backend, tmp_path):
    pytest.importorskip("joblib")
    script = tmp_path / "script.py"
    script.write_text(
        PRELUDE
        + textwrap.dedent(f"""
        from joblib import Parallel, delayed

        def work(i):
            check()
            return float(fastsoftmax.logsumexp(x[i]))

        if __name__ == "__main__":
            check()
            results = Parallel(n_jobs=2, backend={backend!r})(delayed(work)(i) for i in range(4))
            np.testing.assert_allclose(results, np.log(e.sum(axis=1))[:4], rtol=1e-6)
    """)
    )
    run_python("", path=script)


def test_from_asyncio():
    run_script("""
        import asyncio
        async def main():
            results = await asyncio.gather(*(asyncio.to_thread(fastsoftmax.softmax, x, 1) for _ in range(4)))
            for result in results:
                np.testing.assert_allclose(result, p, rtol=1e-5)
            check()
        asyncio.run(main())
    """)
