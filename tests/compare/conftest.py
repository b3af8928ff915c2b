"""A small result to show, save and read."""

import pytest

from fastsoftmax.compare.limits import Limits
from fastsoftmax.compare.results import Result, Row, Table

LIMITS = Limits(copy_ns=40.0, read_ns=20.0, exp_ns=30.0)


@pytest.fixture
def result():
    rows = [
        Row(
            "fastsoftmax naive",
            True,
            50.0,
            60.0,
            5,
            100,
            float("inf"),
            float("inf"),
            "wrong",
            "3 NaN or inf of 100",
        ),
        Row("fastsoftmax auto", True, 100.0, 110.0, 5, 100, 0.75, 0.25, "exact"),
        Row("scipy", False, 400.0, 500.0, 5, 100, 66.0, 3.0, "inexact"),
        Row("torch", False, 80.0, 90.0, 5, 100, 1.5, 0.5, "exact"),
        Row("jax", False, verdict="failed", reason="RuntimeError: no luck"),
    ]
    auto = rows[1]
    auto.median_low_ns, auto.median_high_ns, auto.reused_ns = 104.5, 121.0, 80.0
    slow = [
        Row("fastsoftmax auto", True, 1000.0, 1100.0, 5, 100, 0.75, 0.25, "exact"),
        Row("scipy", False, 9000.0, 9500.0, 5, 100, 2.5, 0.25, "inexact"),
    ]
    return Result(
        machine={"cpu": "A CPU", "python": "CPython 3.14"},
        versions={"fastsoftmax": "0.1.0", "scipy": "1.17"},
        threads=1,
        created="2026-01-01T00:00:00+00:00",
        skipped={"onnxruntime": "not installed (onnx is missing)"},
        tables=[
            Table(
                "digits",
                "softmax",
                [10, 10],
                -1,
                "float32",
                800,
                "a [remark]",
                {"test_accuracy": 0.97},
                rows,
                LIMITS,
                noise=0.05,
            ),
            Table("10 x 10 float32", "logsumexp", [10, 10], -1, "float32", 440, rows=slow),
        ],
    )
