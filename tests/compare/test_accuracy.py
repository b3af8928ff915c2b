"""Verdicts: right is called right, wrong is called wrong, and a large input is sampled."""

import numpy as np
import pytest

from fastsoftmax.compare import accuracy, exact
from fastsoftmax.compare.accuracy import EXACT_ULP, Truth
from fastsoftmax.compare.workloads import OPS, random


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_rounded_truth_is_exact(op, axis, dtype):
    x = random(40, 60, dtype=dtype, axis=axis).array
    found = Truth(op, x, axis).judge(getattr(exact, op)(x, axis).astype(dtype))
    assert found.verdict == "exact"
    assert found.mean_ulp < found.max_ulp <= 0.5


@pytest.mark.parametrize("op", OPS)
def test_a_few_ulp_are_inexact_and_a_lost_digit_counts(op):
    x = random(40, 60).array
    true = getattr(exact, op)(x)
    limit = EXACT_ULP[op]
    shift = exact.spacing(true, np.float32, near_zero=exact.NEAR_ZERO[op])
    found = Truth(op, x, -1).judge((true + (limit + 1) * shift).astype(np.float32))
    assert found.verdict == "inexact"
    assert limit < found.max_ulp <= limit + 2


@pytest.mark.parametrize("op", OPS)
def test_wrong_values_are_wrong_and_named(op):
    x = random(40, 60).array
    result = getattr(exact, op)(x).astype(np.float32)
    result.reshape(-1)[:3] += 5
    found = Truth(op, x, -1).judge(result)
    assert found.verdict == "wrong"
    assert "is right" in found.reason
    assert found.max_ulp > 1000


def test_an_error_in_a_tiny_value_is_not_gross():
    x = np.array([[0, -50, -60]], np.float32)
    result = exact.softmax(x).astype(np.float32)
    result[0, 2] *= 2
    assert Truth("softmax", x, -1).judge(result).verdict == "inexact"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_inf_where_the_truth_is_finite(bad):
    x = random(4, 6).array
    result = exact.softmax(x).astype(np.float32)
    result[1, 2] = bad
    found = Truth("softmax", x, -1).judge(result)
    assert (found.verdict, found.max_ulp) == ("wrong", np.inf)
    assert found.reason == "1 NaN or inf of 24"


def test_nan_where_it_belongs():
    x = np.array([[1, np.inf], [np.nan, 1], [1, 2], [-np.inf, 1]], np.float32)
    truth = Truth("softmax", x, -1)
    right = exact.softmax(x).astype(np.float32)
    assert truth.judge(right).verdict == "exact"
    assert truth.judge(np.nan_to_num(right)).verdict == "wrong"


def test_other_shapes_and_types_are_wrong():
    truth = Truth("logsumexp", random(4, 6).array, -1)
    assert "(4, 1)" in truth.judge(np.zeros((4, 1), np.float32)).reason
    assert truth.judge(np.zeros(4, np.int32)).verdict == "wrong"


@pytest.mark.parametrize("shape", [(500, 20), (1, 9000)])
@pytest.mark.parametrize("op", OPS)
def test_large_inputs_are_sampled_from_the_first_to_the_last(monkeypatch, shape, op):
    monkeypatch.setattr(accuracy, "MOST_OTHERS", 1000)
    x = random(*shape).array
    result = getattr(exact, op)(x).astype(np.float32)
    truth = Truth(op, x, -1)
    assert truth.judge(result).verdict == "exact"
    result.reshape(-1)[-1] += 1
    assert truth.judge(result).verdict == "wrong"


def test_nan_is_seen_outside_the_sample_too(monkeypatch):
    monkeypatch.setattr(accuracy, "MOST_OTHERS", 1000)
    x = random(3, 5000).array
    result = exact.softmax(x).astype(np.float32)
    result[1, 17] = np.nan
    assert Truth("softmax", x, -1).judge(result).verdict == "wrong"
