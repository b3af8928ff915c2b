"""Inputs: the standard ones are what they say, and a user's file is taken or refused in one line."""

import numpy as np
import pytest

from fastsoftmax.compare import workloads
from fastsoftmax.compare.workloads import InputError, from_file


def test_names_are_unique_and_the_quick_ones_cover_all_functions():
    names = [workload.name for workload in workloads.WORKLOADS]
    assert len(set(names)) == len(names)
    assert {op for workload in workloads.WORKLOADS if workload.quick for op in workload.ops} == set(workloads.OPS)


def test_random_rows_differ_in_scale_and_repeat():
    x = workloads.random(1000, 6, axis=0).array
    np.testing.assert_allclose(x.std(axis=0), [1, 3, 10] * 2, rtol=0.1)
    np.testing.assert_array_equal(x, workloads.random(1000, 6, axis=0).array)
    assert x.flags.c_contiguous


def test_a_file_is_read(tmp_path):
    x = np.arange(6.0).reshape(2, 3).astype(">f4")
    np.save(tmp_path / "x.npy", x)
    workload = from_file(tmp_path / "x.npy", axis=0, op="softmax")
    source = workload.build()
    assert (workload.name, workload.axis, workload.ops) == ("x.npy", 0, ("softmax",))
    assert (source.array.dtype, source.remark) == (np.dtype("f4"), "")
    np.testing.assert_array_equal(source.array, x)


def test_integers_count_as_float64(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(6))
    assert from_file(tmp_path / "x.npy").build().array.dtype == np.float64


def test_what_is_not_finite_is_said(tmp_path):
    np.save(tmp_path / "x.npy", np.array([1, np.nan, np.inf]))
    assert from_file(tmp_path / "x.npy").build().remark == "2 elements are not finite"


@pytest.mark.parametrize(
    ("array", "axis", "message"),
    [
        (np.array(["a"]), -1, "x.npy holds text"),
        (np.array([None]), -1, "Python objects"),
        (np.array([1j]), -1, "complex128"),
        (np.array(["2020-01-01"], "M8[D]"), -1, "dates"),
        (np.array(1.0), -1, "single number"),
        (np.ones((0, 3)), -1, r"empty \(shape \(0, 3\)\)"),
        (np.ones((2, 3)), 2, r"axis 2 does not exist: x.npy has shape \(2, 3\), so -2 to 1 do"),
        (np.ones((2, 3)), -3, "axis -3 does not exist"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path, array, axis, message):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=message) as caught:
        from_file(tmp_path / "x.npy", axis)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_used(tmp_path):
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "nothing.npy").touch()
    np.save(tmp_path / "short.npy", np.ones(1000))
    whole = (tmp_path / "short.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(whole[:500])
    np.savez(tmp_path / "many.npz", a=np.ones(3))
    for name in ("text.npy", "nothing.npy", "short.npy"):
        with pytest.raises(InputError, match=f"{name} is not a .npy file"):
            from_file(tmp_path / name)
    with pytest.raises(InputError, match="several arrays"):
        from_file(tmp_path / "many.npz")
    with pytest.raises(InputError, match="no such file"):
        from_file(tmp_path / "missing.npy")
    with pytest.raises(InputError, match="is a folder"):
        from_file(tmp_path)
