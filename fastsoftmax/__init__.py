"""Fast and exact softmax, log_softmax and logsumexp on the CPU."""

from fastsoftmax.api import log_softmax, logsumexp, softmax
from fastsoftmax.choice import explain
from fastsoftmax.config import show_config
from fastsoftmax.ladder import methods
from fastsoftmax.threads import get_num_threads, set_num_threads
from fastsoftmax.version import __version__

__all__ = [
    "__version__",
    "explain",
    "get_num_threads",
    "log_softmax",
    "logsumexp",
    "methods",
    "set_num_threads",
    "show_config",
    "softmax",
]
