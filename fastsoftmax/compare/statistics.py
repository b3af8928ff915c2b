"""What samples of a race say: medians with an interval, the noise of a race, and whether the machine kept its pace."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

CONFIDENCE = 0.95


def median(samples: Sequence[float]) -> float:
    """Return the median; NaN of nothing."""
    return float(np.median(samples)) if len(samples) else math.nan


def median_interval(samples: Sequence[float]) -> tuple[float, float]:
    """Return an interval that holds the true median with 95 % confidence, whatever the distribution.

    It lies between two order statistics. Of fewer than six samples none is that sure: then it is all of them.
    """
    from scipy.stats import quantile_test

    if len(samples) == 0:
        return math.nan, math.nan
    found = quantile_test(samples, p=0.5).confidence_interval(CONFIDENCE)
    low, high = float(found.low), float(found.high)
    return (min(samples) if math.isnan(low) else low), (max(samples) if math.isnan(high) else high)


def noise(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how far from 1 the ratio of two contenders may be though they are the same: the noise floor.

    The two are samples of one call timed twice in each lap, but for laps that one of them sat out at the end. Of their
    ratios lap by lap it is the end of the median's interval that is farther from 1.
    """
    low, high = median_interval([a / b for a, b in zip(one, other, strict=False)])
    return max(abs(low - 1), abs(high - 1), 1 / low - 1) if low > 0 else math.nan


def wobble(pace: Sequence[float]) -> float:
    """Return by how much a work that is always the same took longer in slow laps than in fast ones.

    Slow and fast are the ninth and the first tenth: 0.3 is a machine that was 30 % slower for a while.
    """
    if len(pace) == 0:
        return math.nan
    fast, slow = np.quantile(pace, [0.1, 0.9])
    return float(slow / fast - 1)
