"""What a bug report needs to know."""

from __future__ import annotations

import os
import platform

from fastsoftmax import cache, threads
from fastsoftmax.version import __version__


def config() -> dict[str, str]:
    """Return versions, CPU, SIMD width, threads and the cache folder as text."""
    import llvmlite
    import llvmlite.binding as llvm
    import numba
    import numpy

    features = dict(llvm.get_host_cpu_features())
    widths = (("avx512f", 512), ("avx2", 256), ("neon", 128), ("sse2", 128))
    width = next((bits for name, bits in widths if features.get(name)), 128)
    return {
        "fastsoftmax": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "platform": platform.platform(),
        "cpu": os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name(),
        "simd width": f"{width} bits",
        "threads": f"{threads.get_num_threads()} of {os.cpu_count()} CPUs",
        "cache folder": str(cache.folder()),
    }


def show_config() -> None:
    """Print what a bug report needs: versions, CPU, SIMD width, threads, cache folder.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.show_config()  # doctest: +ELLIPSIS
    fastsoftmax ...
    """
    entries = config()
    width = max(map(len, entries))
    for name, value in entries.items():
        print(f"{name:{width}}  {value}")
