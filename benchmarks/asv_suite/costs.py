"""What the package costs besides the time of a call: import, compilation, memory."""

import math
from pathlib import Path

import numpy as np

import fastsoftmax

from .problems import OPS, rows

RESET = Path("/proc/self/clear_refs")
FIRST = "import numpy, fastsoftmax; fastsoftmax.softmax(numpy.ones(10, numpy.float32))"
FRESH = """
import os, tempfile
folder = tempfile.TemporaryDirectory()
os.environ["FASTSOFTMAX_CACHE_DIR"] = folder.name
"""


class Start:
    """Time until a new process can work. Importing Numba is most of it, and shown beside."""

    version = "1"
    number = 1
    repeat = (2, 5, 20.0)

    def setup_cache(self):
        fastsoftmax.softmax(np.ones(10, np.float32))

    def timeraw_import_numba(self):
        return "import numba"

    def timeraw_import(self):
        return "import fastsoftmax"

    def timeraw_import_and_call(self):
        return FIRST


class Compile:
    """Time of the first call ever, with no compiled code on disk."""

    version = "1"
    number = 1
    repeat = 1
    params = (OPS, ("float32", "float64"))
    param_names = ("op", "dtype")
    timeout = 300

    def timeraw_first_call(self, op, dtype):
        x = f"import numpy, fastsoftmax; x = numpy.ones((4, 1000), numpy.{dtype})"
        return f"fastsoftmax.{op}(x, axis=-1)", f"{FRESH}{x}"


class Memory:
    """Memory of a call on 64 MiB: the peak of the process, and what is taken beyond input and result."""

    version = "1"
    unit = "% of the input"
    params = (OPS,)
    param_names = ("op",)

    def setup_cache(self):
        for op in OPS:
            getattr(fastsoftmax, op)(rows(8, 1000, dtype="float32"), axis=-1)

    def peakmem_call(self, op):
        getattr(fastsoftmax, op)(rows(256, 1 << 16, dtype="float32"), axis=-1)

    def track_extra_memory(self, op):
        x = rows(256, 1 << 16, dtype="float32")
        function = getattr(fastsoftmax, op)
        function(x[:2], axis=-1)
        keywords = {} if op == "logsumexp" else {"out": np.zeros_like(x)}
        if not RESET.exists():
            return math.nan  # which asv shows as missing
        RESET.write_text("5")  # the peak becomes what is in use now
        before = peak()
        function(x, axis=-1, **keywords)
        return 100 * (peak() - before) / x.nbytes


def peak():
    """Return this process's peak of resident memory in bytes (Linux)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])
