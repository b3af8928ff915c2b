"""Nothing outside the arrays is read or written: they lie beside forbidden pages, in a process of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import guarded
import pytest
from helpers import PACKAGE, output_of, run_python, start_python

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mprotect as Linux has it")
SCRIPT = Path(guarded.__file__)


def run(code):
    """Run code that uses guarded.py; return the process when it has ended."""
    paths = os.pathsep.join([str(SCRIPT.parent), str(PACKAGE.parent)])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("name", guarded.TYPES)
def test_every_way_beside_forbidden_pages(name):
    assert int(output_of(start_python("", path=SCRIPT, arguments=(name,)), timeout=400)) > 2000


@pytest.mark.parametrize(
    "touch",
    [
        "reach(x, -1)",
        "reach(x, 8)",
        "x.flags.writeable and room.allow(guarded.READ); x[0] = 1",
    ],
)
def test_a_touch_beside_them_is_noticed(touch):
    # else the tests above would show nothing
    ended = run(f"""if True:
        import ctypes, guarded
        room = guarded.Room(64)
        def reach(x, i):
            return ctypes.c_double.from_address(x.ctypes.data + 8 * i).value
        for side in guarded.SIDES:
            x = room.place((8,), float, side)
            assert reach(x, 0) == reach(x, 7) == x[3]
        x = room.place((8,), float, "begin" if "-1" in {touch!r} else "end")
        print("so far", flush=True)
        {touch}
    """)
    assert ended.stdout == "so far\n"
    assert ended.returncode == -signal.SIGSEGV


def test_a_write_beside_a_result_is_noticed():
    ended = run("""if True:
        import guarded
        room = guarded.Room(4096)
        for side in guarded.SIDES:
            x = room.place((2, 3), "f4", side)
            x[...] = 0
            assert room.is_intact_beside()
            room.bytes[room.first - 1 if side == "end" else room.last] = 0
            assert not room.is_intact_beside()
    """)
    assert ended.returncode == 0, ended.stderr


def test_numbas_bounds_check_finds_nothing(tmp_path):
    # It sees little here, whence the pages: a kernel's loads and stores go through pointers, which know no bounds. What
    # is indexed as an array (sums kept of rows and columns, pieces of long rows) is checked.
    out = run_python(
        """if True:
        import numpy as np
        import fastsoftmax
        from fastsoftmax.jit import kernel
        x = np.random.default_rng(0).normal(size=(33, 70)).astype(np.float32)
        for op, a, axis in (("logsumexp", x[:, :5].copy(), 1), ("logsumexp", x, 0)):
            np.testing.assert_allclose(getattr(fastsoftmax, op)(a, axis), np.log(np.exp(a).sum(axis)), rtol=1e-5)
        @kernel("in", "out")
        def reach(x, out):
            out[0] = x[7]
        try:
            reach[x.dtype](x[0, :3], x[0, :1].copy())
        except IndexError:
            print("checked")
        """,
        env={"NUMBA_BOUNDSCHECK": "1", "FASTSOFTMAX_CACHE_DIR": str(tmp_path)}.items(),
    )
    assert out == "checked\n"
