"""The one place that calls Numba: how kernels are compiled, and when.

Every option is set here, once:

- ``nogil``: a kernel touches no Python object, so other threads run beside it.
- ``error_model="numpy"``: a division by zero gives inf or NaN instead of a test and an exception.
- ``boundscheck=False``: kernels address memory through `fastsoftmax.simd`, which checks nothing either way. The
  variable ``NUMBA_BOUNDSCHECK`` wins over it, for what is indexed as an array.
- no ``fastmath``: the order of each operation is the point. Vectors come from `fastsoftmax.simd`, not from
  permission to reorder.
- ``forceinline`` for the parts of a kernel: a call would spill every vector register.
- no ``parallel``: threads are `fastsoftmax.team`'s business.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, njit, types
from numba.core.compiler_lock import global_compiler_lock

from fastsoftmax.cache import DiskCache
from fastsoftmax.elements import Elements
from fastsoftmax.pipeline import KernelCompiler, PartCompiler

if config.DISABLE_JIT:
    raise ImportError("fastsoftmax is compiled by Numba and does nothing without: unset NUMBA_DISABLE_JIT")

_OPTIONS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "no_cfunc_wrapper": True}
_KERNEL_OPTIONS = {**_OPTIONS, "pipeline_class": KernelCompiler}
_PART_OPTIONS = {**_OPTIONS, "pipeline_class": PartCompiler, "forceinline": True, "no_cpython_wrapper": True}
_SCALARS = {"int": types.intp, "real": types.float64}

# Numba's own lock. A fork waits for a compilation in another thread, or the child would find the lock taken for ever.
_compiling = global_compiler_lock
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_compiling.acquire, after_in_parent=_compiling.release, after_in_child=_compiling.release
    )


def _uninterrupted(task: Callable[[], None]) -> None:
    """Do a task where no signal handler runs: these interrupt the main thread only, and may call for a kernel, too.

    Numba must not be entered anew in the middle of its imports. A handler that calls meanwhile waits for its own turn.
    Where the main thread has the lock (it was interrupted while it compiled something else), it does the task itself.
    """
    if threading.current_thread() is not threading.main_thread() or _compiling.is_locked():
        task()
        return
    errors: list[BaseException] = []

    def work() -> None:
        try:
            task()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="fastsoftmax compiles", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread is to be had
        task()
        return
    thread.join()
    if errors:
        raise errors[0]


def inline(function: Callable[..., Any]) -> Any:
    """Mark a part of a kernel: compiled into every kernel that calls it, and never to machine code of its own.

    Numba would translate each part and wrap it for calls from Python, too, which takes longer than all the rest.
    """
    part = njit(**_PART_OPTIONS)(function)

    def leave_uncompiled(flags: Any) -> Any:
        flags.no_compile = True
        return flags

    def remember(result: Any) -> None:
        name = object()  # kernels find the part by it, in place of the address of machine code
        part.overloads[tuple(result.signature.args)] = result._replace(entry_point=name)
        result.target_context.insert_user_function(name, result.fndesc, [result.library])

    def find(args: Any, kws: Any) -> Any:
        return template_for(tuple(types.unliteral(a) if isinstance(a, types.IntegerLiteral) else a for a in args), kws)

    template_for = part.get_call_template
    part.get_call_template = find  # or a part would be translated anew for each constant that is passed to it
    part._compiler._customize_flags = leave_uncompiled
    part.add_overload = remember
    return part


def compiled(function: Callable[..., Any], signature: Any) -> Any:
    """Return the Numba function of an explicit signature: made before, found on disk, or compiled now."""

    def compile_once() -> None:
        with _compiling:
            if (function, signature) not in _compiled:
                dispatcher = njit(**_KERNEL_OPTIONS)(function)
                dispatcher._cache = DiskCache(function)
                dispatcher.compile(signature)
                dispatcher.disable_compile()
                _compiled[function, signature] = dispatcher

    if (function, signature) not in _compiled:
        _uninterrupted(compile_once)
    return _compiled[function, signature]


def unchecked(dispatcher: Any) -> Any:
    """Return what `compiled` returned without the check of arguments' types, which takes as long as 100 elements."""
    (result,) = dispatcher.overloads.values()
    return result.entry_point


_compiled: dict[tuple[Any, Any], Any] = {}


class Kernel:
    """A function compiled for a storage type when that type is first asked for.

    ``kernel[dtype]`` is the compiled function. One explicit signature a type, with read-only inputs, serves writable
    and read-only arrays alike: left to itself Numba would compile each combination anew.

    Parameters
    ----------
    function : callable
        The algorithm. It must allocate little, and return nothing, or with `later` kernels what it left undone.
    parameters : tuple of str
        The kind of each parameter: ``"in"`` and ``"out"`` (1-d contiguous arrays of the storage type), ``"real"``
        (float64), ``"reals"`` (a writable 1-d float64 array), ``"flags"`` (a 1-d uint8 array), ``"int"``.
    later : tuple of Kernel, optional
        Those that this one calls for what is seldom to be done. They are compiled when that happens for the first time:
        the kernel then leaves it undone, and returns another number than 0. Its last parameter, an "int", is what
        `cells` returns.
    """

    def __init__(
        self, function: Callable[..., Any], parameters: tuple[str, ...], later: tuple["Kernel", ...] = ()
    ) -> None:
        self.function = function
        self.parameters = (*parameters, "int") if later else parameters
        self.later = later
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self._known: dict[np.dtype[Any], Any] = {}
        self._unchecked: dict[np.dtype[Any], Any] = {}
        self._cells: dict[np.dtype[Any], tuple[Any, tuple[int, ...]]] = {}
        self._completed: set[np.dtype[Any]] = set()

    def __getitem__(self, dtype: np.dtype[Any]) -> Any:
        known = self._known.get(dtype)
        if known is None:
            known = self._known[dtype] = compiled(self.function, self.signature(dtype))
        return known

    def unchecked(self, dtype: np.dtype[Any]) -> Any:
        """Return ``kernel[dtype]`` without the check of its arguments' types.

        Whoever calls it must pass arrays of that type and of the kinds of `parameters`: others are read as if they
        were.
        """
        known = self._unchecked.get(dtype)
        if known is None:
            known = self._unchecked[dtype] = unchecked(self[dtype])
        return known

    def address(self, dtype: np.dtype[Any]) -> int:
        """Return where the machine code of ``kernel[dtype]`` begins, for calls in Numba's own convention."""
        (result,) = self[dtype].overloads.values()
        with _compiling:  # LLVM has a lock, too, that a forked child must not find taken
            return int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name))

    def cells(self, dtype: np.dtype[Any]) -> tuple[int, ...]:
        """Return, as last arguments, the address of the addresses of `later` kernels, 0 while these are not compiled.

        Nothing if there are none.
        """
        known = self._cells.get(dtype)
        if known is None:
            cells = np.zeros(len(self.later), np.int64)
            known = self._cells.setdefault(dtype, (cells, (cells.ctypes.data,) if self.later else ()))
        return known[1]

    def complete(self, dtype: np.dtype[Any]) -> None:
        """Compile the `later` kernels, so that nothing is left undone any more."""
        if dtype in self._completed:  # the address takes Numba's lock, which others may hold for seconds
            return
        self.cells(dtype)
        cells, _ = self._cells[dtype]
        for number, kernel in enumerate(self.later):
            cells[number] = kernel.address(dtype)
        self._completed.add(dtype)

    def signature(self, dtype: np.dtype[Any]) -> Any:
        """Return the Numba signature of this kernel for a storage type."""
        element = types.uint16 if dtype == np.uint16 else getattr(types, dtype.name)
        arrays = {
            "in": Elements(element, readonly=True),
            "out": Elements(element, readonly=False),
            "reals": types.Array(types.float64, 1, "C"),
            "flags": Elements(types.uint8, readonly=True),
        }
        result = types.intp if self.later else types.void
        return result(*((arrays | _SCALARS)[kind] for kind in self.parameters))

    def assembly(self, dtype: np.dtype[Any]) -> str:
        """Return the machine code of the kernel for a storage type as assembly text."""
        return "".join(self[dtype].inspect_asm().values())


def kernel(*parameters: str, later: tuple[Kernel, ...] = ()) -> Callable[[Callable[..., Any]], Kernel]:
    """Make a `Kernel` of the function that follows; `parameters` are the kinds of its parameters."""
    return lambda function: Kernel(function, parameters, later)
