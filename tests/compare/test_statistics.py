"""Medians, noise and pace; fixed samples, no clock."""

import math

import numpy as np
import pytest

from fastsoftmax.compare import statistics


def test_the_interval_holds_the_true_median_as_often_as_it_says(rng):
    held = 0
    for _ in range(400):
        low, high = statistics.median_interval(rng.exponential(1, 25).tolist())
        held += low <= math.log(2) <= high
    assert 0.93 <= held / 400 <= 1


def test_an_outlier_moves_neither_median_nor_interval():
    samples = [float(v) for v in range(100, 130)]
    spoiled = [*samples[:-1], 1e9]
    assert statistics.median(spoiled) == statistics.median(samples)
    assert statistics.median_interval(spoiled) == statistics.median_interval(samples)


def test_few_samples_give_their_whole_range_and_none_give_nan():
    assert statistics.median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert all(map(math.isnan, statistics.median_interval([])))
    assert math.isnan(statistics.median([]))
    assert math.isnan(statistics.wobble([]))


def test_noise_is_what_a_contender_differs_from_itself(rng):
    drift = np.linspace(1, 3, 60)  # a machine that slows down does it to both
    quiet = statistics.noise(drift * rng.normal(100, 0.5, 60), drift * rng.normal(100, 0.5, 60))
    loud = statistics.noise(rng.normal(100, 20, 60), rng.normal(100, 20, 60))
    assert quiet < 0.01 < loud
    assert statistics.noise([1.0] * 9, [1.25] * 9) == pytest.approx(0.25)


def test_a_machine_that_changes_its_pace_is_noticed():
    assert statistics.wobble([100.0] * 40 + [130.0] * 10) == pytest.approx(0.3)
    assert statistics.wobble([100.0] * 49 + [900.0]) == 0  # one interruption is no change of pace
