"""The contenders: one record each, for this package's rungs and for every library it is compared with.

A contender's ``prepare`` puts an array into its library's own form, outside the timed call and without a copy
where the library can, and returns the call to time. To add a contender, write its ``prepare`` and add a
record to `PEERS`.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastsoftmax
from fastsoftmax.compare.workloads import InputError, Op

Array = NDArray[Any]


@dataclass(frozen=True)
class Call:
    """A function bound to its array: ``run`` is what is timed, ``fetch`` makes its result a NumPy array."""

    run: Callable[[], Any]
    fetch: Callable[[Any], Array] = np.asarray


class Unsupported(Exception):
    """A contender has no such function for this type or axis."""


@dataclass(frozen=True)
class Contender:
    """One implementation of the three functions."""

    name: str
    library: str
    """The distribution it comes from, as pip names it."""
    prepare: Callable[[Op, Array, int, int], Call]
    """(op, array, axis, threads) -> the call to time; or Unsupported, or ImportError without the library."""
    note: str = ""
    """One line on how it works."""
    ours: bool = False
    limit_threads: Callable[[int], None] | None = None
    """Sets the library's own number of threads, where `threadpoolctl` or ``prepare`` cannot."""

    @property
    def version(self) -> str:
        """The version of its library."""
        return importlib.metadata.version(self.library)


def contenders(methods: Sequence[str] | None = None) -> tuple[Contender, ...]:
    """Return this package's rungs (all of them, or those named) and all peers, installed or not."""
    rungs = {rung.name: rung for rung in fastsoftmax.methods()}
    for name in methods or ():
        if name not in rungs:
            raise InputError(f"unknown method {name!r}; there are {', '.join(rungs)}")
    chosen = dict.fromkeys(methods) if methods else rungs
    return (*(_rung(name, rungs[name].note) for name in chosen), *PEERS)


def installed(candidates: Sequence[Contender]) -> tuple[list[Contender], dict[str, str]]:
    """Split candidates into those that can run, and the libraries of the others with the reason why not."""
    able: list[Contender] = []
    skipped: dict[str, str] = {}
    for contender in candidates:
        if obstacle := _obstacle(contender):
            skipped[contender.name] = obstacle
        else:
            able.append(contender)
    return able, skipped


def pin(threads: int) -> None:
    """Restrict this process to as many CPUs as the contenders may use threads.

    Every library then counts that many CPUs, and for XLA, which has no other reliable switch, it is the only
    way. Must come before the libraries are imported, since they size their thread pools then. Where the
    system has no affinity, each library's own switch has to do.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not 1 <= threads <= available:
        raise InputError(f"--threads {threads} is not possible: this process may use {available} CPU(s)")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


@contextmanager
def equal_threads(racers: Sequence[Contender], threads: int) -> Iterator[None]:
    """Hold every contender to the same number of threads."""
    from threadpoolctl import threadpool_limits

    before = fastsoftmax.get_num_threads()
    with ExitStack() as stack:
        stack.callback(fastsoftmax.set_num_threads, before)
        stack.enter_context(threadpool_limits(threads))
        fastsoftmax.set_num_threads(threads)
        for racer in racers:
            if racer.limit_threads is not None:
                racer.limit_threads(threads)
        yield


def _obstacle(contender: Contender) -> str:
    """Return why a contender cannot run here; nothing if it can."""
    try:
        contender.prepare("softmax", np.zeros((1, 2), np.float32), -1, 1)
    except ModuleNotFoundError as error:
        return f"not installed ({error.name} is missing)"
    except (ImportError, OSError) as error:
        return f"does not import: {error}".splitlines()[0]
    return ""


def _rung(name: str, note: str) -> Contender:
    """Return the record of one of this package's rungs."""

    def prepare(op: Op, x: Array, axis: int, threads: int) -> Call:
        function = getattr(fastsoftmax, op)
        return Call(lambda: function(x, axis=axis, method=name))

    return Contender(f"fastsoftmax {name}", "fastsoftmax", prepare, note, ours=True)


def _numpy(op: Op, x: Array, axis: int, threads: int) -> Call:
    """Return what everyone writes by hand."""

    def softmax() -> Array:
        e: Array = np.exp(x - x.max(axis=axis, keepdims=True))
        e /= e.sum(axis=axis, keepdims=True)
        return e

    def log_softmax() -> Array:
        shifted: Array = x - x.max(axis=axis, keepdims=True)
        shifted -= np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
        return shifted

    def logsumexp() -> Array:
        top = x.max(axis=axis, keepdims=True)
        result: Array = np.log(np.exp(x - top).sum(axis=axis)) + top.squeeze(axis)
        return result

    return Call({"softmax": softmax, "log_softmax": log_softmax, "logsumexp": logsumexp}[op])


def _scipy(op: Op, x: Array, axis: int, threads: int) -> Call:
    import scipy.special

    function = getattr(scipy.special, op)
    return Call(lambda: function(x, axis=axis))


def _torch(op: Op, x: Array, axis: int, threads: int) -> Call:
    import torch

    function = getattr(torch, op)
    tensor = torch.from_numpy(x)  # shares the memory
    return Call(lambda: function(tensor, axis))


def _limit_torch(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _jax(op: Op, x: Array, axis: int, threads: int) -> Call:
    import jax

    jax.config.update("jax_enable_x64", True)  # or it would compute float64 in float32
    function = getattr(jax.nn, op)
    compiled = jax.jit(lambda v: function(v, axis=axis))
    array = jax.device_put(x, jax.devices("cpu")[0])
    return Call(lambda: compiled(array).block_until_ready())


def _onnxruntime(op: Op, x: Array, axis: int, threads: int) -> Call:
    """Return a run of a model of one node; its session has a thread pool of its own."""
    import onnxruntime
    from onnx import helper
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

    kind = {"softmax": "Softmax", "log_softmax": "LogSoftmax", "logsumexp": "ReduceLogSumExp"}[op]
    where = {"axes": [axis], "keepdims": 0} if op == "logsumexp" else {"axis": axis}
    element = helper.np_dtype_to_tensor_dtype(x.dtype)
    node = helper.make_node(kind, ["x"], ["y"], **where)
    tensors = [helper.make_tensor_value_info(name, element, None) for name in "xy"]
    graph = helper.make_graph([node], kind, tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    except NoKernel:
        raise Unsupported(f"{kind} has no kernel for {x.dtype}") from None
    binding = session.io_binding()  # spares the session's conversions from and to NumPy
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x))
    binding.bind_output("y")
    return Call(
        lambda: session.run_with_iobinding(binding),
        lambda _: binding.copy_outputs_to_cpu()[0],
    )


PEERS = (
    Contender("numpy", "numpy", _numpy, "the usual few lines"),
    Contender("scipy", "scipy", _scipy, "scipy.special"),
    Contender("torch", "torch", _torch, "torch, eager, on the CPU", limit_threads=_limit_torch),
    Contender("jax", "jax", _jax, "jax.nn, compiled with jit"),
    Contender("onnxruntime", "onnxruntime", _onnxruntime, "a model of one node"),
)
