"""SciPy's own tests of the three functions, run with ours in their place."""

import importlib.util
import warnings

import numpy as np
import pytest

import fastsoftmax

spec = importlib.util.find_spec("scipy.special.tests.test_logsumexp")
if spec is None:
    pytest.skip("this SciPy came without its tests", allow_module_level=True)
suite = importlib.util.module_from_spec(spec)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        spec.loader.exec_module(suite)
    except ImportError as error:
        pytest.skip(f"SciPy's tests do not load here: {error}", allow_module_level=True)
for name in ("softmax", "log_softmax", "logsumexp"):
    setattr(suite, name, getattr(fastsoftmax, name))

for test in vars(suite.TestLogSumExp).values():
    for i, mark in enumerate(getattr(test, "pytestmark", ())):
        if mark.name == "parametrize":  # pytest wants lists, SciPy passes an iterator
            test.pytestmark[i] = pytest.mark.parametrize(mark.args[0], list(mark.args[1]), **mark.kwargs).mark


@pytest.fixture
def xp():
    return np


@pytest.fixture
def devices():
    return ["cpu"]


TestLogSumExp = suite.TestLogSumExp
TestSoftmax = suite.TestSoftmax
TestLogSoftmax = suite.TestLogSoftmax
