"""Arguments at random, sensible and not: a result of the right shape, or an error of NumPy's kind with a message.

`FASTSOFTMAX_FUZZ=100000 pytest tests/test_fuzz.py` makes that many calls, about six minutes of them.
"""

import os

import hypothesis
import hypothesis.extra.numpy as hnp
import ml_dtypes
import numpy as np
from helpers import LAYOUTS, OPS, RUNGS
from hypothesis import given
from hypothesis import strategies as st

import fastsoftmax

CALLS = int(os.environ.get("FASTSOFTMAX_FUZZ", "1500"))
counted = dict.fromkeys(("calls", "results"), 0)

NUMERIC = ["f4", "f8", "f2", "g", ">f8", "i1", "i4", "u8", "?", "F", "D", "bfloat16"]
OTHERS = ["U2", "S3", "M8[s]", "m8[D]", "O", "f8,i4", "V4", "T", "float8_e5m2", "int4"]
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def dtype_of(name):
    if hasattr(ml_dtypes, name):
        return np.dtype(getattr(ml_dtypes, name))
    return np.dtypes.StringDType() if name == "T" else np.dtype(name)


@st.composite
def numeric_arrays(draw, shape=None):
    """An array of any bits, so NaN, infinities and subnormal numbers too, in any layout; some are masked."""
    dtype = dtype_of(draw(st.sampled_from(["f4", "f8", *NUMERIC])))
    shape = draw(shapes) if shape is None else shape
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype.kind == "b" or draw(st.booleans()):
        x = np.asarray(rng.integers(0, 3, shape)).astype(dtype)
    else:
        count = int(np.prod(shape)) * dtype.itemsize
        x = np.frombuffer(rng.bytes(count), dtype).reshape(shape).copy()
    if x.ndim and draw(st.integers(0, 2)) == 0 and dtype.kind != "V":
        with np.errstate(invalid="ignore"):
            x = LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](x)
    return np.ma.masked_array(x) if draw(st.integers(0, 30)) == 0 else x


other_arrays = st.builds(lambda shape, name: np.zeros(shape, dtype_of(name)), shapes, st.sampled_from(OTHERS))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(max_size=3), st.binary(max_size=2),
    st.complex_numbers(), st.sampled_from([10**30, -(10**400), np.float16(1), np.int8(-1), np.str_("0"), object()]),
    st.sampled_from([np.datetime64("2026-01-01"), {}, {1: 2}, set(), range(3), np.dtype("f4"), float]),
)  # fmt: skip
nested = st.recursive(scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.tuples(inner)), max_leaves=5)
anything = st.one_of(nested, numeric_arrays(), other_arrays)
few_axes = st.one_of(st.none(), st.integers(-1, 1), st.lists(st.integers(0, 2), unique=True, max_size=2).map(tuple))


def mostly(sensible):
    """Something sensible, but anything at all one time in twelve."""
    return st.integers(0, 11).flatmap(lambda number: anything if number == 11 else sensible)


@st.composite
def calls(draw):
    """Arguments for a call, each of them sensible more often than not."""
    x = draw(mostly(numeric_arrays()))
    shape = np.shape(x) if isinstance(x, np.ndarray) else ()
    axis = draw(mostly(few_axes))
    fitting = st.sampled_from([shape, shape, shape, shape[1:], shape[:-1], ()]).flatmap(numeric_arrays)
    mask = st.builds(lambda seed: np.random.default_rng(seed).random(shape) < 0.5, st.integers(0, 99))
    sensible = {
        "out": st.one_of(fitting, st.just(x)),
        "where": mask,
        "method": st.sampled_from(RUNGS),
        "temperature": st.one_of(st.floats(allow_nan=False), st.just(0.5)),
        "b": st.one_of(numeric_arrays(shape), numeric_arrays(shape[-1:]), st.floats(), st.integers(-3, 3)),
        "keepdims": st.booleans(),
        "return_sign": st.booleans(),
    }
    arguments = {name: draw(mostly(values)) for name, values in sensible.items() if draw(st.integers(0, 3)) == 0}
    return x, axis, arguments


def arguments_of(op, arguments):
    """Only what this function takes."""
    others = {"temperature"} if op == "logsumexp" else {"b", "keepdims", "return_sign"}
    return {name: value for name, value in arguments.items() if name not in others}


def bytes_of(thing):
    return thing.tobytes() if isinstance(thing, np.ndarray) and thing.dtype.kind not in "OT" else None


@hypothesis.settings(max_examples=CALLS // len(OPS) + 1)
@given(calls())
def test_nothing_but_results_and_errors_of_numpys_kind(call):
    x, axis, arguments = call
    for op in OPS:
        given_arguments = arguments_of(op, arguments)
        out = given_arguments.get("out")
        read = [x, given_arguments.get("b"), given_arguments.get("where")]
        before = [bytes_of(thing) for thing in (*read, out)]
        counted["calls"] += 1
        try:
            with np.errstate(all="raise"):
                result = getattr(fastsoftmax, op)(x, axis, **given_arguments)
        except (TypeError, ValueError, IndexError) as error:  # an AxisError is both of the latter
            message = str(error)
        else:
            message = None
        if message is not None:
            assert message
            assert "No matching definition" not in message, "this is Numba's"
            assert [bytes_of(thing) for thing in (*read, out)] == before
            continue
        counted["results"] += 1
        if op == "logsumexp" and given_arguments.get("return_sign"):
            result, _ = result
        if out is not None:
            assert result is out
        else:
            assert [bytes_of(thing) for thing in read] == before[:-1]
        if op != "logsumexp":
            assert np.shape(result) == np.shape(x)


def test_the_calls_were_both_sensible_and_not():
    assert counted["calls"] >= CALLS
    assert 0.3 < counted["results"] / counted["calls"] < 0.9
