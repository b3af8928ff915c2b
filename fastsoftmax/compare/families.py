"""Families of rows that are hard on one implementation or another, each of any length and type."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
Make = Callable[[np.random.Generator, int], Array]


def normal(rng: np.random.Generator, n: int, scale: float = 1.0, offset: float = 0.0) -> Array:
    """Return normal numbers: a small scale is flat, a large one has a single element that counts."""
    return rng.normal(offset, scale, n)


def late_spike(rng: np.random.Generator, n: int) -> Array:
    """Return a low row with a spike near its end: what was summed before it counts for nothing."""
    x = rng.normal(-60, 1, n)
    x[-1 - n // 9] = 40
    return x


def one_peak(rng: np.random.Generator, n: int) -> Array:
    """Return a row with one element that outweighs all others: its log_softmax is next to 0."""
    x = rng.normal(0, 1, n)
    x[n // 2] = 90
    return x


def masked(rng: np.random.Generator, n: int) -> Array:
    """Return a row half of which is -inf."""
    x = rng.normal(0, 5, n)
    x[rng.random(n) < 0.5] = -np.inf
    x[n // 3] = 1.5
    return x


def huge_and_tiny(rng: np.random.Generator, n: int, huge: float) -> Array:
    """Return numbers of very different size."""
    return rng.choice([huge, -huge, 1e-30, -1.0, 0.0, 5.0, huge / 2], n)


def near_zero_sum(rng: np.random.Generator, n: int) -> Array:
    """Return a row shifted so that its logsumexp comes out near 0, where it cancels."""
    x = rng.normal(0, 3, n)
    result: Array = x - np.log(np.exp(x).sum()) + rng.normal(0, 0.05)
    return result


def _periodic(rng: np.random.Generator, n: int) -> Array:
    """Return lanes of a vector that see one value each."""
    return np.tile(np.repeat(rng.uniform(-16, 3, 4), 16), n // 64 + 1)[:n]


def _few_values(rng: np.random.Generator, n: int) -> Array:
    """Return a few values, many times each: their errors don't average out."""
    return rng.choice(np.append(rng.normal(-9, 4, 20), 0.0), n, p=[*[0.999 / 20] * 20, 0.001])


FAMILIES: dict[str, Make] = {
    **{f"normal*{scale}": partial(normal, scale=scale) for scale in (1, 3, 10, 30, 100, 1000)},
    **{
        f"normal{offset:+g}": partial(normal, scale=4, offset=offset) for offset in (1e4, -1e4, -150, 207, 88, -87, 709)
    },
    "uniform 2000": lambda rng, n: rng.uniform(-2000, 2000, n),
    "uniform 87": lambda rng, n: rng.uniform(-87, 0, n),
    "ascending": lambda rng, n: np.sort(rng.normal(0, 20, n)),
    "ascending steps": lambda rng, n: np.arange(n) * 0.75,
    "descending": lambda rng, n: np.sort(rng.normal(0, 20, n))[::-1],
    "one peak": one_peak,
    "late spike": late_spike,
    "equal": lambda rng, n: np.full(n, rng.normal(0, 40)),
    "zeros": lambda rng, n: np.zeros(n),
    "close tops": lambda rng, n: np.where(rng.random(n) < 0.5, 100.0, 100.0 - 1e-4),
    "one above equals": lambda rng, n: np.where(np.arange(n) == n // 3, rng.uniform(0, 9), 0) + rng.uniform(-3, 3),
    "two levels": lambda rng, n: rng.uniform(-3, 3) - rng.uniform(8, 18) * (rng.random(n) < 0.5),
    "period 64": _periodic,
    "few values": _few_values,
    "small differences": lambda rng, n: 1 + rng.normal(0, 1e-6, n),
    "-inf masks": masked,
    "subnormal": lambda rng, n: rng.choice([1e-310, -1e-310, 1e-40, -1e-42, 0.0, -0.0], n),
    "1e30": partial(huge_and_tiny, huge=1e30),
    "largest": partial(huge_and_tiny, huge=3e38),
    "near 0": near_zero_sum,
    "far below": lambda rng, n: np.where(np.arange(n) == n // 2, 0.0, -rng.uniform(50, 100, n)),
}
# What float32 cannot hold.
FAMILIES_64: dict[str, Make] = {
    "1e300": partial(huge_and_tiny, huge=1e300),
    "1.7e308": partial(huge_and_tiny, huge=1.7e308),
}


def names(dtype: DTypeLike) -> tuple[str, ...]:
    """Return the families that a type can hold."""
    return (*FAMILIES, *(FAMILIES_64 if np.dtype(dtype) == np.float64 else ()))


def family(name: str, dtype: DTypeLike, n: int, rows: int = 3) -> Array:
    """Return rows of a family, the same ones each time.

    Parameters
    ----------
    name : str
        One of `names(dtype)`.
    dtype : dtype_like
        The type they are rounded to.
    n : int
        Their length.
    rows : int
        How many.

    Returns
    -------
    ndarray
        Of shape (rows, n).
    """
    rng = np.random.default_rng([n, *name.encode()])
    make = FAMILIES.get(name) or FAMILIES_64[name]
    result: Array = np.stack([make(rng, n) for _ in range(rows)]).astype(dtype)
    return result
