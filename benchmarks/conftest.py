"""A timed run gives every library one CPU to count, so that all of them race on equal terms."""

import os

from fastsoftmax.compare.contenders import pin


def pytest_configure(config):
    """Pin the process before any library is imported, when benchmarks are timed."""
    if config.getoption("benchmark_enable", False):
        pin(int(os.environ.get("FASTSOFTMAX_NUM_THREADS", "1")))
