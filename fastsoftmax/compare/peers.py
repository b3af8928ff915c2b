"""The peers: one record each, for every library and idiom that this package is compared with.

A peer's ``prepare`` puts an array into its library's own form, outside the timed call and without a copy where
the library can, and returns the call to time. What takes long to make and does not depend on the array's
values, as a compiled function, is made once. To add a peer, write its ``prepare`` and add a record to `PEERS`.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

from fastsoftmax.compare.contender import Array, Call, Contender, Unsupported
from fastsoftmax.compare.workloads import Op


def _numpy(op: Op, x: Array, axis: int, threads: int) -> Call:
    """Return what everyone writes by hand."""

    def softmax(out: Array | None = None) -> Array:
        e: Array = np.subtract(x, x.max(axis=axis, keepdims=True), out=out)
        np.exp(e, out=e)
        e /= e.sum(axis=axis, keepdims=True)
        return e

    def log_softmax(out: Array | None = None) -> Array:
        shifted: Array = np.subtract(x, x.max(axis=axis, keepdims=True), out=out)
        shifted -= np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
        return shifted

    def logsumexp() -> Array:
        top = x.max(axis=axis, keepdims=True)
        result: Array = np.log(np.exp(x - top).sum(axis=axis)) + top.squeeze(axis)
        return result

    if op == "logsumexp":
        return Call(logsumexp)
    function = softmax if op == "softmax" else log_softmax
    return Call(function, reuse=partial(function, out=np.zeros_like(x)))


def _logaddexp(op: Op, x: Array, axis: int, threads: int) -> Call:
    out = np.zeros(np.delete(x.shape, axis), x.dtype)
    return Call(
        lambda: np.logaddexp.reduce(x, axis=axis),
        reuse=lambda: np.logaddexp.reduce(x, axis=axis, out=out),
    )


def _scipy(op: Op, x: Array, axis: int, threads: int) -> Call:
    import scipy.special

    function = getattr(scipy.special, op)
    return Call(lambda: function(x, axis=axis))


def _numexpr(op: Op, x: Array, axis: int, threads: int) -> Call:
    """Return NumPy's maximum, and one expression a pass for the rest."""
    import numexpr

    sum_exp = f"sum(exp(x - top), axis={axis % x.ndim})"

    def with_sum(last: str, out: Array | None = None) -> Array:
        top = x.max(axis=axis, keepdims=True)
        total = np.expand_dims(numexpr.evaluate(sum_exp, {"x": x, "top": top}), axis)
        known = {"x": x, "top": top, "total": total}
        result: Array = numexpr.evaluate(last, known, out=out, casting="same_kind")
        return result

    last = {"softmax": "exp(x - top) / total", "log_softmax": "x - top - log(total)", "logsumexp": "top + log(total)"}
    if op == "logsumexp":
        return Call(lambda: with_sum(last[op]).squeeze(axis).astype(x.dtype, copy=False))
    out = np.zeros_like(x)
    return Call(
        lambda: with_sum(last[op]).astype(x.dtype, copy=False),
        reuse=lambda: with_sum(last[op], out),
    )


def _limit_numexpr(threads: int) -> None:
    import numexpr

    numexpr.set_num_threads(threads)


def _numba(op: Op, x: Array, axis: int, threads: int) -> Call:
    """Return loops over rows as many write them; another axis is copied to the end first."""
    from fastsoftmax.compare import by_hand

    function = getattr(by_hand, op)
    moved = np.moveaxis(x, axis, -1)

    def fresh() -> Array:
        out = np.empty(moved.shape[:-1] if op == "logsumexp" else moved.shape, x.dtype)
        return into(out)

    def into(out: Array) -> Array:
        rows = np.ascontiguousarray(moved).reshape(-1, moved.shape[-1])
        function(rows, out.reshape(-1) if op == "logsumexp" else out.reshape(rows.shape))
        return out if op == "logsumexp" else np.moveaxis(out, -1, axis)

    there = np.zeros(moved.shape[:-1] if op == "logsumexp" else moved.shape, x.dtype)
    return Call(fresh, reuse=lambda: into(there))


def _limit_numba(threads: int) -> None:
    import numba

    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))


def _torch(op: Op, x: Array, axis: int, threads: int) -> Call:
    import torch

    function = getattr(torch, op)
    tensor = torch.from_numpy(x)  # shares the memory
    out = torch.zeros_like(function(tensor, axis))
    return Call(lambda: function(tensor, axis), reuse=lambda: function(tensor, axis, out=out))


def _limit_torch(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _jax(op: Op, x: Array, axis: int, threads: int) -> Call:
    import jax

    compiled = _jax_function(op, axis)
    array = jax.device_put(x, jax.devices("cpu")[0])
    return Call(lambda: compiled(array).block_until_ready())


@cache
def _jax_function(op: Op, axis: int) -> Any:
    import jax

    jax.config.update("jax_enable_x64", True)  # or it would compute float64 in float32
    function = getattr(jax.nn, op)
    return jax.jit(lambda v: function(v, axis=axis))


def _onnxruntime(op: Op, x: Array, axis: int, threads: int) -> Call:
    """Return a run of a model of one node; its session has a thread pool of its own."""
    import onnxruntime

    session = _onnx_session(op, x.dtype.name, axis, threads)
    value = onnxruntime.OrtValue.ortvalue_from_numpy(x)

    def bind() -> Any:  # spares the session's conversions from and to NumPy
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", value)
        return binding

    fresh, reusing = bind(), bind()
    fresh.bind_output("y")
    shape = np.delete(x.shape, axis).tolist() if op == "logsumexp" else x.shape
    reusing.bind_ortvalue_output("y", onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, x.dtype)))
    return Call(
        lambda: session.run_with_iobinding(fresh),
        lambda _: fresh.copy_outputs_to_cpu()[0],
        lambda: session.run_with_iobinding(reusing),
    )


@cache
def _onnx_session(op: Op, dtype: str, axis: int, threads: int) -> Any:
    import onnxruntime
    from onnx import helper
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

    kind = {"softmax": "Softmax", "log_softmax": "LogSoftmax", "logsumexp": "ReduceLogSumExp"}[op]
    where = {"axes": [axis], "keepdims": 0} if op == "logsumexp" else {"axis": axis}
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    node = helper.make_node(kind, ["x"], ["y"], **where)
    tensors = [helper.make_tensor_value_info(name, element, None) for name in "xy"]
    graph = helper.make_graph([node], kind, tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    except NoKernel:
        raise Unsupported(f"{kind} has no kernel for {dtype}") from None


_OWN = "its own switch"

PEERS = (
    Contender("numpy", "numpy", _numpy, "the usual few lines"),
    Contender("scipy", "scipy", _scipy, "scipy.special"),
    Contender("logaddexp", "numpy", _logaddexp, "numpy.logaddexp.reduce", ops=("logsumexp",)),
    Contender("numexpr", "numexpr", _numexpr, "one expression a pass", threads=_OWN, limit_threads=_limit_numexpr),
    Contender(
        "numba by hand",
        "numba",
        _numba,
        "@njit(parallel=True, fastmath=True) and numpy.exp",
        threads=_OWN,
        limit_threads=_limit_numba,
    ),
    Contender(
        "torch",
        "torch",
        _torch,
        "torch, eager, on the CPU",
        threads=_OWN,
        limit_threads=_limit_torch,
        extra="torch",
    ),
    Contender("jax", "jax", _jax, "jax.nn, compiled with jit", threads="the CPUs of the process", extra="jax"),
    Contender(
        "onnxruntime",
        "onnxruntime",
        _onnxruntime,
        "a model of one node; it keeps the memory of results",
        threads="an option of its session",
        extra="onnxruntime",
    ),
)
