"""What is refused: by name, with the way out, and before anything is written; and what is not, though it looks odd."""

import ml_dtypes
import numpy as np
import pytest
from helpers import OPS, call, same_bits

import fastsoftmax

X = np.linspace(0, 1, 12).reshape(3, 4)
GUARD = 7.0
AXIS_ERROR = np.exceptions.AxisError


def masked(values):
    return np.ma.masked_array(values, np.arange(np.size(values)).reshape(np.shape(values)) == 0)


# name: (error, words of the message, arguments other than x)
WRONG = {
    "axis out of range": (AXIS_ERROR, "axis 2.*dimension 2", {"axis": 2}),
    "axis too negative": (AXIS_ERROR, "axis -3.*dimension 2", {"axis": -3}),
    "axis far out of range": (AXIS_ERROR, "axis", {"axis": 10**30}),
    "axis far out of range in a tuple": (AXIS_ERROR, "axis", {"axis": (0, -(10**30))}),
    "axis in a tuple": (AXIS_ERROR, "axis 2", {"axis": (0, 2)}),
    "axis repeated": (ValueError, "axis.*twice", {"axis": (0, 0)}),
    "axis repeated in disguise": (ValueError, "axis.*twice", {"axis": (1, -1)}),
    "float axis": (TypeError, "axis must be an integer.*not 1.0", {"axis": 1.0}),
    "float axis of NumPy's": (TypeError, "axis must be an integer", {"axis": np.float64(1)}),
    "float axis in a tuple": (TypeError, "axis must be an integer", {"axis": (0, 1.0)}),
    "axis None in a tuple": (TypeError, "axis must be an integer", {"axis": (None,)}),
    "axis in a tuple in a tuple": (TypeError, "axis must be an integer", {"axis": ((0,),)}),
    "axis by name": (TypeError, "axis must be an integer.*'0'", {"axis": "0"}),
    "axis of no letters": (TypeError, "axis must be an integer", {"axis": ""}),
    "axis of bytes": (TypeError, "axis must be an integer", {"axis": b"\0"}),
    "axis in an array": (TypeError, "axis must be an integer", {"axis": np.array([0, 1])}),
    "axis in a dict": (TypeError, "axis must be an integer", {"axis": {0: 1}}),
    "unknown method": (ValueError, "one of naive, stable, online, two_pass, parallel, auto", {"method": "fastest"}),
    "method None": (ValueError, "one of naive.*None", {"method": None}),
    "method that is no key": (ValueError, "one of naive", {"method": ["auto"]}),
    "method in an array": (ValueError, "one of naive", {"method": np.array(["auto", "auto"])}),
    "method of bytes": (ValueError, "one of naive", {"method": b"auto"}),
    "where too short": (ValueError, r"where.*\(3,\).*does not broadcast to \(3, 4\)", {"where": np.ones(3, bool)}),
    "where of more dimensions": (ValueError, "where.*does not broadcast", {"where": np.ones((1, 3, 4), bool)}),
    "where of integers": (TypeError, "where must be boolean, not int64.*!=", {"where": [1, 0, 1, 1]}),
    "where a number": (TypeError, "where must be boolean", {"where": 1}),
    "where of objects": (TypeError, "where must be boolean, not object", {"where": [True, None, False, True]}),
    "where masked": (TypeError, "where is a masked array", {"where": masked([True] * 4)}),
    "out that is a list": (TypeError, "out must be a NumPy array, not list", {"out": [0.0] * 4}),
    "out masked": (TypeError, "out must be a NumPy array, not MaskedArray", {"out": masked(X)}),
}
WRONG_MAPS = {
    "temperature 0": (ValueError, "temperature must be a number other than 0", {"temperature": 0}),
    "temperature -0.0": (ValueError, "temperature must be a number other than 0", {"temperature": -0.0}),
    "temperature NaN": (ValueError, "temperature must be a number.*nan", {"temperature": np.nan}),
    "temperature too large": (ValueError, "temperature is too large", {"temperature": 10**400}),
    "temperature of digits": (TypeError, "temperature must be a real number, not '2'", {"temperature": "2"}),
    "temperature of bytes": (TypeError, "temperature must be a real number", {"temperature": b"2"}),
    "temperature None": (TypeError, "temperature must be a real number", {"temperature": None}),
    "temperature complex": (TypeError, "temperature must be a real number", {"temperature": 1j}),
    "temperature in an array": (TypeError, "temperature must be a real number", {"temperature": np.ones(1)}),
    "temperature in a list": (TypeError, "temperature must be a real number", {"temperature": [2.0]}),
    "temperature masked": (TypeError, "temperature is a masked array", {"temperature": np.ma.masked}),
}
WRONG_WEIGHTS = {
    "b that does not broadcast": (ValueError, r"b has shape \(5,\).*\(3, 4\)", {"b": np.ones(5)}),
    "b of strings": (TypeError, "b has dtype <U1", {"b": ["1", "2", "3", "4"]}),
    "b of objects": (TypeError, r"b has dtype object.*astype\(float\)", {"b": np.ones(4, object)}),
    "b masked": (TypeError, "b is a masked array.*where=~b.mask", {"b": masked(np.ones(4))}),
    "b too large": (ValueError, "b is too large", {"b": 10**400}),
}
REFUSED_TYPES = {
    "strings": (np.array(["1", "2"]), r"dtype <U1.*astype\(float\)"),
    "bytes": (np.array([b"1", b"2"]), r"dtype \|S1.*astype\(float\)"),
    "variable strings": (np.array(["1", "2"], np.dtypes.StringDType()), r"StringDType.*astype\(float\)"),
    "a text": ("text", "dtype <U4"),
    "a list of strings": (["1", "2"], "dtype <U1"),
    "objects": (np.array([1.0, 2.0], object), r"dtype object.*astype\(float\)"),
    "a list with None": ([1.0, None], "dtype object"),
    "integers too large": ([10**30, 1], r"dtype object.*astype\(float\)"),
    "dates": (np.array(["2026-01-01"], "M8[D]"), r"datetime64\[D\].*astype\(float\)"),
    "spans of time": (np.array([1, 2], "m8[s]"), r"timedelta64\[s\].*astype\(float\)"),
    "a structure": (np.array([(1.0, 2.0)], "f8,f8"), r"structured.*\['f0'\]"),
    "a record": (np.rec.array([(1.0, 2.0)], names="a,b"), r"structured.*\['a'\]"),
    "raw bytes": (np.zeros(2, "V8"), r"dtype \|V8"),
    "masked": (np.ma.masked_array([1.0, 2.0], [False, True]), r"masked.*\.data and where=~\w\.mask"),
    "masked without a mask": (np.ma.masked_array([1.0, 2.0]), "masked"),
    "None": (None, "not NoneType"),
    "a dict": ({1: 2}, "not dict"),
    "a generator": ((i for i in range(3)), "not generator"),
    **{
        name: (np.array([1, 2], getattr(ml_dtypes, name)), rf"dtype {name}.*astype\(float32\)")
        for name in ("float8_e5m2", "float8_e4m3fn", "float4_e2m1fn", "int4")
    },
}
WRONG_OUT_TYPES = ["i8", "u1", "?", "U32", "S32", "O", "V8", "M8[s]", "f8,f8", ml_dtypes.float8_e5m2]


def cases_of(op):
    return {**WRONG, **(WRONG_WEIGHTS if op == "logsumexp" else WRONG_MAPS)}


def result_shape(op, x, axis, keepdims=False):
    return np.shape(np.sum(x, axis=axis, keepdims=keepdims) if op == "logsumexp" else x)


@pytest.mark.parametrize(("op", "case"), [(op, case) for op in OPS for case in cases_of(op)])
def test_wrong_arguments_are_refused_before_anything_is_written(op, case):
    error, message, wrong = cases_of(op)[case]
    for axis in (None, 0, 1):
        if "axis" in wrong and axis is not None:
            continue
        out, inside = np.full(result_shape(op, X, axis), GUARD), X.copy()
        in_place = inside.ravel()[: out.size].reshape(out.shape)
        for arguments in ({}, {"out": out}, {"out": in_place}):
            with pytest.raises(error, match=message):
                call(op, inside, **{"axis": axis, **arguments, **wrong})
        assert (out == GUARD).all()
        same_bits(inside, X)


@pytest.mark.parametrize("case", REFUSED_TYPES)
@pytest.mark.parametrize("op", OPS)
def test_other_types_are_refused_by_name(op, case):
    x, message = REFUSED_TYPES[case]
    name = "a" if op == "logsumexp" else "x"
    out = np.full((2,) if op != "logsumexp" else (), GUARD)
    for method in ("auto", "stable"):
        with pytest.raises(TypeError, match=f"^{name} .*{message}"):
            call(op, x, None, out=out, method=method)
    assert (out == GUARD).all()


@pytest.mark.parametrize("dtype", WRONG_OUT_TYPES, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_out_of_a_type_that_is_not_cast_to(op, dtype):
    for axis in (None, 1):
        out = np.zeros(result_shape(op, X, axis), dtype)
        before = out.tobytes()
        with pytest.raises(TypeError, match=r"out has dtype .*: give one of float64"):
            call(op, X, axis, out=out)
        assert out.tobytes() == before


@pytest.mark.parametrize("op", OPS)
def test_real_out_for_a_complex_result(op):
    out = np.full(result_shape(op, X, None), GUARD)
    for arguments in ((X + 1j,), *([(X, None, 1j)] if op == "logsumexp" else [])):
        with pytest.raises(TypeError, match=r"out has dtype float64.*complex128"):
            getattr(fastsoftmax, op)(*arguments, out=out)
    assert (out == GUARD).all()


@pytest.mark.parametrize("op", OPS)
def test_read_only_out(op):
    for axis in (None, 0, 1):
        shape = result_shape(op, X, axis)
        out = np.full(shape, GUARD)
        out.flags.writeable = False
        for given in (out, np.broadcast_to(np.float64(GUARD), shape)):
            with pytest.raises(ValueError, match="out is read-only"):
                call(op, X, axis, out=given)
            assert (given == GUARD).all()


@pytest.mark.parametrize("op", OPS)
def test_out_has_exactly_the_shape_of_the_result(op):
    for axis in (None, 0, 1, (0, 1), ()):
        for keepdims in (False, True) if op == "logsumexp" else (False,):
            right = result_shape(op, X, axis, keepdims)
            for shape in ((3, 4), (4, 3), (12,), (1, 3, 4), (3, 1), (1, 4), (3,), (4,), (1,), (1, 1), (), (0,), (3, 0)):
                if shape == right:
                    continue
                out = np.full(shape, GUARD)
                with pytest.raises(ValueError, match=r"out has shape .*expected"):
                    call(op, X, axis, out=out, **({"keepdims": True} if keepdims else {}))
                assert (out == GUARD).all()


def test_logsumexp_has_no_temperature():
    with pytest.raises(TypeError, match="temperature"):
        fastsoftmax.logsumexp([1.0], temperature=2)


@pytest.mark.parametrize("op", OPS)
def test_the_message_about_a_method_names_them_all(op):
    with pytest.raises(ValueError, match="fastest") as caught:
        call(op, X, method="fastest")
    for rung in fastsoftmax.methods():
        assert rung.name in str(caught.value)


@pytest.mark.parametrize("op", OPS)
def test_odd_arguments_that_mean_something(op):
    plain = {axis: call(op, X, axis) for axis in (None, 0, 1, (0, 1))}
    for axis, like in (
        ([0, 1], (0, 1)),
        ((1, 0), (0, 1)),
        ((-1, 0), None),
        ([1], 1),
        (np.int8(-2), 0),
        (np.array(1), 1),
        (True, 1),
    ):
        np.testing.assert_array_equal(call(op, X, axis), plain[like])
    for method in (np.str_("auto"), "".join(["au", "to"])):
        np.testing.assert_array_equal(call(op, X, 1, method=method), plain[1])
    for where in (True, np.True_, np.array(True), [True] * 4, np.ones((3, 1), bool)):
        np.testing.assert_allclose(call(op, X, 1, where=where), plain[1], rtol=1e-15)
    if op != "logsumexp":
        for temperature in (1, True, np.float16(1), np.array(1.0), np.int64(1), ml_dtypes.bfloat16(1)):
            np.testing.assert_array_equal(call(op, X, 1, temperature=temperature), plain[1])


@pytest.mark.parametrize("kind", [np.memmap, np.recarray, "subclass"])
@pytest.mark.parametrize("op", OPS)
def test_out_of_a_subclass(op, kind, tmp_path):
    class Subclass(np.ndarray):
        """Always of two dimensions, like numpy.matrix."""

        def __array_finalize__(self, _):
            if self.ndim == 1:
                self.shape = (1, self.size)

    plain = np.asarray(call(op, np.stack([X, X]), 2))
    for axis in (2, -1):
        if kind is np.memmap:
            out = np.memmap(tmp_path / "out", np.float64, "w+", shape=plain.shape)
        elif kind is np.recarray:
            out = np.empty(plain.shape).view(np.recarray)
        else:
            out = np.empty(plain.shape).view(Subclass)
        assert call(op, np.stack([X, X]), axis, out=out) is out
        np.testing.assert_array_equal(np.asarray(out), plain)


@pytest.mark.parametrize("op", OPS)
def test_a_number_has_the_axes_that_numpy_gives_it(op):
    for x in (2.5, np.float32(2.5), np.array(2.5), 3, True):
        for axis in (0, -1, None, ()):
            assert call(op, x, axis) == {"softmax": 1, "log_softmax": 0, "logsumexp": x}[op]
        for axis in (1, -2, (0,)):
            with pytest.raises(AXIS_ERROR):
                call(op, x, axis)


@pytest.mark.parametrize("op", OPS)
def test_as_many_dimensions_as_numpy_has(op):
    x = np.linspace(0, 1, 4).reshape((1,) * 30 + (2, 2))
    for axis, like in ((None, None), (-1, 1), (-2, 0), (30, 0), ((30, 31), None), (0, ())):
        got = np.ravel(call(op, x, axis))
        np.testing.assert_allclose(got, np.ravel(call(op, x.reshape(2, 2), like)), rtol=1e-15, atol=1e-16)
