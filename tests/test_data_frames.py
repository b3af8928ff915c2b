"""Columns of pandas and polars: read as they lie, read-only or not; what holds no numbers is refused by name."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from helpers import OPS, assert_exact, call, same_bits

VALUES = np.random.default_rng(5).normal(0, 9, (50, 4))
DTYPES = ("float32", "float64", "int64", "int8", "uint16", "bool", "float16")


def series(library, values):
    return pd.Series(values) if library is pd else pl.Series(values)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
@pytest.mark.parametrize("op", OPS)
def test_a_column(op, library, dtype):
    values = VALUES[:, 0].astype(dtype)
    column = series(library, values)
    if library is pl and dtype == "float16" and column.dtype != pl.Float16:
        pytest.skip("this polars has no float16")
    plain = call(op, values, None)
    got = call(op, column, None)
    same_bits(got, plain)
    assert type(got) is type(plain)
    same_bits(np.asarray(column), values)


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
@pytest.mark.parametrize("op", OPS)
def test_a_frame(op, library):
    names = list("abcd")
    frame = pd.DataFrame(VALUES, columns=names) if library is pd else pl.DataFrame(VALUES, schema=names)
    for axis in (None, 0, 1, -1, (0, 1)):
        got = call(op, frame, axis)
        assert not isinstance(got, pd.DataFrame)
        assert_exact(op, VALUES, axis, got)
        assert_exact(op, VALUES[::3, 1:3], axis, call(op, frame.to_numpy()[::3, 1:3], axis))


@pytest.mark.parametrize("op", OPS)
def test_read_only_memory_of_a_column(op):
    for array in (pd.Series(VALUES[:, 0].copy()).to_numpy(), pl.Series(VALUES[:, 0]).to_numpy()):
        array.flags.writeable = False  # as copy-on-write and zero-copy hand them out
        before = array.copy()
        assert_exact(op, array, 0, call(op, array, 0))
        with pytest.raises(ValueError, match="read-only"):
            call(
                op,
                array[:1] if op == "logsumexp" else array,
                0,
                out=array[0:1].reshape(()) if op == "logsumexp" else array,
            )
        same_bits(array, before)


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
@pytest.mark.parametrize("op", OPS)
def test_masks_and_weights_from_columns(op, library):
    values, keep = VALUES[:, 0], VALUES[:, 1] > 0
    same_bits(
        call(op, series(library, values), 0, where=series(library, keep)),
        call(op, values, 0, where=keep),
    )
    if op == "logsumexp":
        weights = np.abs(VALUES[:, 2])
        same_bits(call(op, series(library, values), 0, b=series(library, weights)), call(op, values, 0, b=weights))


@pytest.mark.parametrize("op", OPS)
def test_missing_numbers(op):
    # as NaN, which is how both hand them to NumPy
    for column in (pl.Series([1.0, None, 2.0]), pd.Series([1.0, None, 2.0]), pl.Series([1, None, 2])):
        assert np.isnan(call(op, column, None)).all()


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["a", "b"]),
        pd.Series(["a", "b"], dtype="category"),
        pd.Series(pd.to_datetime(["2026-01-01", "2026-01-02"])),
        pd.Series(pd.to_timedelta([1, 2], unit="s")),
        pd.DataFrame({"a": [1.0], "b": ["x"]}),
        pl.Series(["a", "b"]),
        pl.Series(["a", "b"], dtype=pl.Categorical),
        pl.Series([1, 2]).cast(pl.Datetime),
        pl.DataFrame({"a": [1.0], "b": ["x"]}),
    ],
    ids=lambda v: f"{type(v).__module__.split('.')[0]} {getattr(v, 'dtype', 'mixed')}",
)
@pytest.mark.parametrize("op", OPS)
def test_columns_of_no_numbers(op, column):
    with pytest.raises(TypeError, match=r"^[xa] has dtype .*: convert it"):
        call(op, column, None)


def test_a_column_is_no_place_for_a_result():
    for column in (pd.Series([1.0, 2.0]), pl.Series([1.0, 2.0])):
        with pytest.raises(TypeError, match="out must be a NumPy array, not Series"):
            call("softmax", [1.0, 2.0], None, out=column)
