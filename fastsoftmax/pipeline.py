"""How Numba compiles a kernel with all its parts: it optimises them together, and once.

A part (`fastsoftmax.jit.inline`) is code inside kernels only. Numba would link to each part those that it calls,
optimise it, make machine code of it, and do all that again for whoever calls the part. Here a part is translated to
what LLVM reads, and no more; a kernel gathers the parts that it reaches. That takes a quarter off a first call.

Passes that kernels have no use for (closures, loops over literals, expressions of arrays) are left out.
"""

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import PassManager
from numba.core.typed_passes import (
    AnnotateTypes,
    InlineOverloads,
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
    NopythonTypeInference,
    PreLowerStripPhis,
)
from numba.core.untyped_passes import (
    DeadBranchPrune,
    FixupArgs,
    GenericRewrites,
    IRProcessing,
    ReconstructSSA,
    TranslateByteCode,
)

_PASSES = (
    TranslateByteCode,
    FixupArgs,
    IRProcessing,
    DeadBranchPrune,  # what a None for an argument leaves out
    GenericRewrites,  # constant indices of tuples, and what is raised
    ReconstructSSA,
    DeadBranchPrune,
    NopythonTypeInference,
    PreLowerStripPhis,
    InlineOverloads,
    IRLegalization,
    AnnotateTypes,
    NativeLowering,
    NoPythonBackend,
)


def _defined(module: Any) -> list[str]:
    """Return the names of the functions that an LLVM module defines."""
    return [function.name for function in module.functions if not function.is_declaration]


def _may_be_dropped(module: Any, names: list[str]) -> None:
    """Let LLVM drop functions that nothing in the module calls any more: all, once they are inlined."""
    for name in names:
        module.get_function(name).linkage = "linkonce_odr"


class _PartLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The LLVM code of a part, as it was translated, and the libraries of what it calls."""

    _shared_module: Any

    def finalize(self) -> None:
        self._raise_if_finalized()
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        """Return the part with all that it calls, for functions that know nothing of parts."""
        self._ensure_finalized()
        if self._shared_module is None:
            module = self._final_module.clone()
            for library in self._linking_libraries:
                module.link_in(library._get_module_for_linking(), preserve=True)
            _may_be_dropped(module, _defined(module))
            self._shared_module = module
        return self._shared_module


class _KernelLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The LLVM code of a kernel, to which that of all parts that it reaches is linked, each once."""

    def __init__(self, codegen: Any, name: str) -> None:
        super().__init__(codegen, name)
        self._reached: dict[Any, None] = {}  # a set that keeps its order

    def add_linking_library(self, library: Any) -> None:
        library._ensure_finalized()
        if library in self._reached:
            return
        self._reached[library] = None
        if isinstance(library, _PartLibrary):
            for called in library._linking_libraries:
                self.add_linking_library(called)
        else:
            super().add_linking_library(library)

    def finalize(self) -> None:
        for part in self._reached:
            if isinstance(part, _PartLibrary):
                self._final_module.link_in(part._final_module, preserve=True)
        # only now, or those that nothing calls yet would be gone
        for part in self._reached:
            if isinstance(part, _PartLibrary):
                _may_be_dropped(self._final_module, _defined(part._final_module))
        super().finalize()


class _IntoLibrary(Compiler):  # type: ignore[misc]
    """Numba's compiler with fewer passes, and a library of another kind."""

    library_type: Any

    def define_pipelines(self) -> list[PassManager]:
        state = self.state
        if state.library is None:
            state.library = self.library_type(state.targetctx.codegen(), state.func_id.func_qualname)
            state.library.enable_object_caching()
        manager = PassManager("kernel")
        for step in _PASSES:
            manager.add_pass(step, step.__name__)
        manager.finalize()
        return [manager]


class PartCompiler(_IntoLibrary):
    """Compiles what is only called by kernels, for ``pipeline_class`` of ``njit``."""

    library_type = _PartLibrary


class KernelCompiler(_IntoLibrary):
    """Compiles what is called from Python, for ``pipeline_class`` of ``njit``."""

    library_type = _KernelLibrary
