"""Hypothesis profiles, and the folder of shared helpers on the path."""

import os
import sys
from pathlib import Path

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fastsoftmax

_COMMON = {"deadline": None, "suppress_health_check": list(hypothesis.HealthCheck)}
hypothesis.settings.register_profile("default", max_examples=60, derandomize=True, database=None, **_COMMON)
hypothesis.settings.register_profile("long", max_examples=3000, print_blob=True, **_COMMON)
# `FASTSOFTMAX_TEST_PROFILE=long pytest tests/test_properties.py` searches longer, from a new seed each time.
hypothesis.settings.load_profile(os.environ.get("FASTSOFTMAX_TEST_PROFILE", "default"))


def pytest_configure(config):
    # Marks carried by SciPy's own test classes, which test_scipy_suite.py runs on our functions.
    for mark in ("skip_xp_backends", "xfail_xp_backends", "uses_xp_capabilities", "array_api_backends"):
        config.addinivalue_line("markers", f"{mark}: used by SciPy's tests, without effect here")


@pytest.fixture
def rng():
    return np_rng(20261)


def np_rng(seed):
    import numpy as np

    return np.random.default_rng(seed)


@pytest.fixture
def restore_threads():
    before = fastsoftmax.get_num_threads()
    yield
    fastsoftmax.set_num_threads(before)
