"""How kernels are compiled: to vector instructions without calls, once a type, and never so that a process hangs."""

import json
import math
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest
from helpers import FLOATS, OPS, run_python
from numba import njit

from fastsoftmax.jit import Kernel, inline, kernel
from fastsoftmax.kernels import rows

FEATURES = llvm.get_host_cpu_features()
X86 = FEATURES.get("sse2", False)
WIDEST = "zmm" if FEATURES.get("avx512f") else "ymm" if FEATURES.get("avx2") and FEATURES.get("fma") else None

# What a compiler calls where it finds no instruction of its own.
MATH = {name + end for name in ("exp", "exp2", "expm1", "log", "log1p", "log2", "pow", "fma", "ldexp", "rint")
        for end in ("", "f")}  # fmt: skip

# Compiles kernels and prints for each the registers of its fused multiply-adds and the names in its assembly. Code
# from disk comes without assembly.
INSPECT = """
import collections, json, re, sys
import numpy as np
from fastsoftmax.kernels import rows

def registers(assembly):
    widest = re.findall(r"^\\s*vf(?:n?m(?:add|sub))\\w+\\s.*%([xyz]mm)\\d+\\s*$", assembly, re.MULTILINE)
    return collections.Counter(widest)

report = {}
for kernel, dtype in WORK:
    assembly = getattr(rows, kernel).assembly(np.dtype(dtype))
    report[kernel + " " + dtype] = registers(assembly), sorted(set(re.findall(r"[A-Za-z_]\\w*", assembly)))
print(json.dumps(report))
"""


def inspect(work, folder, **env):
    env = {"FASTSOFTMAX_CACHE_DIR": str(folder), **env}
    return json.loads(run_python(f"WORK = {work!r}\n" + INSPECT, env=env.items()))


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    work = [(f"{op}_rows", np.dtype(dtype).name) for op in OPS for dtype in FLOATS]
    return inspect(work, tmp_path_factory.mktemp("kernels"))


@pytest.mark.skipif(not WIDEST, reason="neither AVX-512 nor AVX2")
def test_rows_are_computed_in_the_widest_registers(native):
    assert len(native) == len(OPS) * len(FLOATS)
    for name, (registers, _) in native.items():
        # four vectors at a time, each a polynomial, and behind the loop four more
        assert registers.get(WIDEST, 0) >= 2 * (4 if WIDEST == "zmm" else 8) * (11 if "float64" in name else 6), name
        assert sum(registers.values()) - registers[WIDEST] <= registers[WIDEST] / 2, (name, registers)


@pytest.mark.skipif(not X86, reason="not this machine's instructions")
def test_code_for_avx2(tmp_path):
    # compiled, not run: the machine need not have it
    report = inspect([("logsumexp_rows", "float32")], tmp_path, NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="")
    registers, names = report["logsumexp_rows float32"]
    assert registers["ymm"] >= 2 * 8 * 6
    assert "zmm" not in registers
    assert not MATH.intersection(names)


@pytest.mark.skipif(not X86, reason="not this machine's instructions")
def test_float16_on_a_processor_that_cannot_read_it(tmp_path):
    env = {"FASTSOFTMAX_CACHE_DIR": str(tmp_path), "NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "+sse4.2"}
    run_python(
        """if True:
        import numpy as np
        from fastsoftmax import softmax

        x = np.random.default_rng(0).normal(size=(9, 70)).astype(np.float16)
        expected = softmax(x.astype(np.float32), axis=1).astype(np.float16)
        assert np.array_equal(softmax(x, axis=1), expected)
        """,
        env=env.items(),
    )


def test_nothing_calls_the_mathematical_library(native):
    for name, (_, names) in native.items():
        assert not MATH.intersection(names), name
        assert not [n for n in names if n.startswith(("_ZGV", "__svml"))], name


def test_writable_and_read_only_arrays_share_one_compilation(tmp_path):
    out = run_python(
        """if True:
        import numpy as np
        from numba.core import event
        import fastsoftmax
        from fastsoftmax.kernels import rows

        x = np.random.default_rng(0).normal(size=(4, 300)).astype(np.float32)
        y = x.copy()
        y.flags.writeable = False
        with event.install_recorder("numba:compile") as recorder:
            results = [fastsoftmax.logsumexp(a, 1) for a in (x, y, x[::2], x.astype(">f4"))]
        np.testing.assert_array_equal(results[0], results[1])
        starts = [e.data for _, e in recorder.buffer if e.is_start]
        print(sum(d["dispatcher"].py_func is rows.logsumexp_rows.function for d in starts))
        print(len(rows.logsumexp_rows[x.dtype].signatures))
        """,
        env={"FASTSOFTMAX_CACHE_DIR": str(tmp_path)}.items(),
    )
    assert out.split() == ["1", "1"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    # an entry on disk knows the package's sources, not this file's
    monkeypatch.setenv("FASTSOFTMAX_CACHE_DIR", str(tmp_path))


@kernel("in", "out", "int", "real")
def scale(x, out, n, factor):
    """Write x * factor."""
    for i in range(n):
        out[i] = x[i] * factor


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_kernel_takes_what_its_parameters_say_and_nothing_else(dtype):
    assert isinstance(scale, Kernel)
    assert scale.__doc__ == "Write x * factor."
    x, out = np.arange(5, dtype=dtype), np.zeros(5, dtype)
    compiled = scale[np.dtype(dtype)]
    assert scale[np.dtype(dtype)] is compiled
    compiled(x, out, 4, 2.0)
    np.testing.assert_array_equal(out, [0, 2, 4, 6, 0])
    for wrong in (x.astype(np.int32), x[::2], x.reshape(5, 1)):
        with pytest.raises(TypeError):
            compiled(wrong, out, 1, 2.0)
    x.flags.writeable = False
    compiled(x, out, 1, 2.0)
    with pytest.raises(TypeError):  # never written to
        compiled(out, x, 1, 2.0)
    assert len(compiled.signatures) == 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_without_its_checks_a_kernel_does_the_same(dtype):
    x, out = np.arange(5, dtype=dtype), np.zeros(5, dtype)
    x.flags.writeable = False
    for _ in range(2):
        scale.unchecked(np.dtype(dtype))(x, out, 4, 2.0)
        np.testing.assert_array_equal(out, [0, 2, 4, 6, 0])


@kernel("in", "out")
def size_and_last(x, out):
    """Write how many elements x has, and the last of them."""
    out[0] = x.size
    if x.size > 0:
        out[1] = x[x.size - 1]


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (2, 1, 4), (3, 0), (2,) * 10])
@pytest.mark.parametrize("dtype", FLOATS)
def test_without_its_checks_a_kernel_takes_arrays_of_any_shape_as_their_elements_lie(dtype, shape):
    x, out = np.arange(1, math.prod(shape) + 1, dtype=dtype).reshape(shape), np.zeros((2, 1), dtype)
    references = sys.getrefcount(x), sys.getrefcount(out)
    for _ in range(2):
        size_and_last.unchecked(np.dtype(dtype))(x, out)
        assert out.ravel().tolist() == [x.size, x.size]
    assert (sys.getrefcount(x), sys.getrefcount(out)) == references


@inline
def twice(v):
    return v + v


@inline
def four_times(v):
    return twice(twice(v))


@njit
def five_times(v):
    return four_times(v) + v


def test_functions_that_are_no_kernels_may_call_parts():
    assert five_times(3.0) == 15
    assert njit(lambda v: five_times(v) + twice(v))(3.0) == 21


def test_a_kernel_may_reach_a_part_in_several_ways():
    @kernel("in", "out")
    def reach(x, out):
        out[0] = five_times(x[0]) + four_times(x[0]) + twice(x[0])

    out = np.zeros(1)
    reach[out.dtype](np.array([3.0]), out)
    assert out == 33


def test_parts_are_no_functions_of_their_own_in_kernels(native):
    for name, (_, names) in native.items():
        assert not [n for n in names if "sum_exponentials" in n and "NumbaEnv" not in n], name


def test_without_numba_the_import_says_what_to_do(tmp_path):
    out = run_python(
        "try:\n    import fastsoftmax\nexcept ImportError as error:\n    print(error)",
        env={"NUMBA_DISABLE_JIT": "1", "FASTSOFTMAX_CACHE_DIR": str(tmp_path)}.items(),
    )
    assert "unset NUMBA_DISABLE_JIT" in out


def test_a_type_that_is_none_is_refused():
    with pytest.raises((AttributeError, KeyError, TypeError)):
        rows.softmax_rows[np.dtype("U3")]


# -- compiling, interrupted ---------------------------------------------------------------------------------

BUSY = """
import os, signal, sys, threading, time
import numpy as np
import fastsoftmax
from numba.core import event

x = np.random.default_rng(0).normal(size=(3, 40))

def check(dtype):
    np.testing.assert_allclose(fastsoftmax.softmax(x.astype(dtype), 1).sum(axis=1), 1, rtol=1e-5)

class Compiling(event.Listener):  # called when the first kernel begins to be compiled
    started = threading.Event()
    def on_start(self, event):
        self.started.set()
    def on_end(self, event):
        pass

event.register("numba:compile", Compiling())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_fork_while_another_thread_compiles(tmp_path):
    run_python(
        BUSY
        + """if True:
        thread = threading.Thread(target=check, args=(np.float64,))
        thread.start()
        Compiling.started.wait()
        time.sleep(0.05)
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            check(np.float64)
            check(np.float32)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        thread.join()
        """,
        env={"FASTSOFTMAX_CACHE_DIR": str(tmp_path)}.items(),
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("kept", [False, True])
def test_a_signal_handler_may_call_during_the_first_call_of_all(kept, tmp_path):
    env = {"FASTSOFTMAX_CACHE_DIR": str(tmp_path)}.items()
    if kept:  # loading what an earlier process compiled imports parts of Numba, too
        run_python(BUSY + "check(np.float32)", env=env)
    run_python(
        BUSY
        + """if True:
        import builtins
        modules, handled = set(), []

        def handler(number, frame):
            check(np.float32)
            handled.append(number)

        class Sender:  # sends a signal in the middle of every import of a module of Numba's
            def find_spec(self, name, path=None, target=None):
                if name.startswith("numba.") and name not in modules:
                    modules.add(name)
                    os.kill(os.getpid(), signal.SIGUSR1)
                    time.sleep(0.001)

        signal.signal(signal.SIGUSR1, handler)
        sys.meta_path.insert(0, Sender())
        check(np.float32)
        check(np.float64)
        assert modules, "nothing was imported"
        assert handled
        """,
        env=env,
    )


def test_an_error_of_the_compiler_comes_out_where_the_call_was_made():
    @kernel("in", "out")
    def wrong(x, out):
        out[0] = x.no_such_attribute

    with pytest.raises(Exception, match="no_such_attribute"):
        wrong[np.dtype(np.float32)]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_signal_handler_may_call_while_the_main_thread_compiles_code_of_its_own(tmp_path):
    run_python(
        BUSY
        + """if True:
        from numba import njit

        def handler(number, frame):
            check(np.float32)
            done.append(number)

        done = []
        compiled = njit(lambda a: a.sum() + np.sort(a)[0])
        compiled(np.ones(3, np.float32))  # whatever Numba imports for it is there now: that must not be interrupted
        Compiling.started.clear()
        signal.signal(signal.SIGUSR1, handler)
        signal.alarm(100)
        sender = threading.Thread(
            target=lambda: (Compiling.started.wait(), os.kill(os.getpid(), signal.SIGUSR1)))
        sender.start()
        assert compiled(np.ones(3)) == 4
        sender.join()
        check(np.float64)
        assert done
        """,
        env={"FASTSOFTMAX_CACHE_DIR": str(tmp_path)}.items(),
    )
