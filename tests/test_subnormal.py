"""Numbers too small to be normal: some processors take a hundred times as long for each, and kernels avoid them."""

import platform

import numpy as np
import pytest
from helpers import output_of, start_python

from fastsoftmax.jit import kernel
from fastsoftmax.kernels import narrow_sums
from fastsoftmax.kernels.exponential import factored_exponential, log2e_over, magic_number
from fastsoftmax.kernels.pivot import aim, floor_of
from fastsoftmax.simd import largest, splat

SCRIPT = """
import sys
import numpy as np
import fastsoftmax
from fastsoftmax.simd import FLUSHES

fastsoftmax.set_num_threads(2)
assert str(FLUSHES) == sys.argv[1]
tiny_single, tenth = np.float32([1.2e-38]), np.float32([0.1])
tiny_double = np.array([2.3e-308])
rng = np.random.default_rng(0)
results = {}
for dtype, scale in ((np.float32, 1), (np.float64, 8)):
    for shape, axis in ((20, 700), 1), ((60, 20), 1), ((264, 70), 0), ((1, 300_000), 1), ((300, 1000), 1):
        for spread in (20, 50):
            x = (rng.standard_normal(shape) * spread * scale).astype(dtype)
            x.reshape(-1)[::9] = -np.inf
            kind = "careful" if spread == 50 and dtype == np.float64 else "fast"
            if kind == "careful":
                x += 1e5  # it has no pivot
            for method in ("auto", "parallel", "two_pass"):
                y = fastsoftmax.softmax(x, axis, method=method)
                assert (tiny_single * tenth > 0).all() and (tiny_double * 0.1 > 0).all()  # as before
                results[f"{dtype.__name__} {shape} {spread} {method} {kind}"] = y
                assert (y[x == -np.inf] == 0).all()
np.savez(sys.argv[2], **results)
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 processors")
def test_small_shares_become_0_where_that_is_faster_and_nothing_else_changes(tmp_path):
    script, env = tmp_path / "script.py", {"FASTSOFTMAX_CACHE_DIR": str(tmp_path / "kernels")}
    script.write_text(SCRIPT)
    found = []
    for processor, flushes in (("haswell", True), ("znver3", False)):
        env |= {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+f16c"}
        saved = tmp_path / f"{processor}.npz"
        child = start_python("", path=script, env=env.items(), arguments=(str(flushes), str(saved)))
        output_of(child, timeout=400)
        found.append(np.load(saved))
    kept_small = 0
    for name, flushed in found[0].items():
        other = found[1][name]
        info = np.finfo(other.dtype)
        small = other < info.tiny
        assert (flushed[~small] > 0).all()
        assert (flushed[small] <= info.tiny).all()
        if "careful" not in name:
            assert ((flushed == 0) | (flushed >= info.tiny)).all(), "a subnormal number"
        assert (np.abs(flushed - other)[~small] <= np.spacing(other[~small])).all()
        surely = other > info.tiny / info.eps
        np.testing.assert_array_equal(flushed[surely], other[surely])
        kept_small += (other[small] > 0).sum()
    assert kept_small > 10_000


@kernel("in", "int", "int", "reals")
def small_parts_at_floors(x, first, last, found):
    """Write the smaller one of the two parts of the lowest term, for many pivots, of rows and of narrow ones."""
    high, low = log2e_over(x, 1.0)
    for k in range(first, last):
        pivot = k - aim(x)
        _, a, b, _ = factored_exponential(splat(x, floor_of(x, pivot, high)), high, low, magic_number(x, pivot))
        found[2 * (k - first)] = float(largest(a * b))
        pivots = splat(x, k - narrow_sums.summit(x))
        floors = narrow_sums.floors_of(x, pivots, high)
        _, a, b, _ = factored_exponential(floors, high, low, magic_number(x, pivots))
        found[2 * (k - first) + 1] = float(largest(a * b))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_small_part_of_the_lowest_term_is_a_normal_number_whatever_the_pivot(dtype, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTSOFTMAX_CACHE_DIR", str(tmp_path))
    first, last = -100_000, 100_000
    found = np.full(2 * (last - first), np.nan)
    small_parts_at_floors[np.dtype(dtype)](np.zeros(1, dtype), first, last, found)
    assert ((found == 0) | (np.abs(found) >= np.finfo(dtype).tiny)).all()
    assert (found != 0).mean() > 0.9
