"""What a comparison found, as plain records that go to JSON and back."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastsoftmax.compare.limits import Limits

SCHEMA = 2
READABLE = (1, 2)
"""Schema 1 knew plain calls on one input only: what came with 2 is None in it."""


@dataclass
class Row:
    """One contender in one table. Times are ns per call, None when it was not timed.

    `best_ns` and the medians are of calls that make their result; `reused_ns` and `cold_ns` are the best times
    into a result that was there, and on inputs that were in no cache.
    """

    contender: str
    ours: bool
    best_ns: float | None = None
    median_ns: float | None = None
    samples: int = 0
    loops: int = 0
    max_ulp: float | None = None
    mean_ulp: float | None = None
    verdict: str = "unknown"
    reason: str = ""
    median_low_ns: float | None = None
    """The median is not below this, with 95 % confidence, nor above the next."""
    median_high_ns: float | None = None
    reused_ns: float | None = None
    cold_ns: float | None = None

    @property
    def exact(self) -> bool:
        """Whether its result was judged exact."""
        return self.verdict == "exact"


@dataclass
class Table:
    """One race: one function on one input."""

    workload: str
    op: str
    shape: list[int]
    axis: int
    dtype: str
    bytes_moved: int
    remark: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    limits: Limits | None = None
    noise: float | None = None
    """How far from 1 a ratio of times may be by chance, found by timing one contender against itself."""
    wobble: float | None = None
    """By how much the machine was slower in slow laps than in fast ones."""
    series: str = ""
    """The curve that it is a point of, if any: over "size" or "scale"."""
    at: float = 0.0
    """Its place on that curve."""

    @property
    def elements(self) -> int:
        """Elements of the input."""
        return math.prod(self.shape)

    @property
    def ranking(self) -> list[Row]:
        """The rows, best first: the timed ones by time, right before wrong, then those without a time."""

        def place(row: Row) -> tuple[bool, bool, float]:
            return row.best_ns is None, row.verdict == "wrong", row.best_ns or 0.0

        return sorted(self.rows, key=place)

    def row(self, contender: str) -> Row | None:
        """Return the row of a contender."""
        return next((row for row in self.rows if row.contender == contender), None)

    def fastest_exact(self) -> Row | None:
        """Return the fastest contender whose result is exact."""
        return next((row for row in self.ranking if row.exact and row.best_ns is not None), None)

    def ns_per_element(self, row: Row) -> float | None:
        """Return a row's best time per element of the input."""
        return None if row.best_ns is None else row.best_ns / self.elements

    def share_of_limit(self, row: Row) -> float | None:
        """Return how near a row's best time is to the limit: 1 is on it."""
        times = [ns for ns in (row.best_ns, row.reused_ns) if ns is not None]
        return self.limits.of(self.op) / min(times) if self.limits is not None and times else None

    def times_faster_than(self, rival: str, row: Row) -> float | None:
        """Return the rival's best time over the row's."""
        other = self.row(rival)
        if other is None or other.best_ns is None or row.best_ns is None:
            return None
        return other.best_ns / row.best_ns


@dataclass
class Result:
    """A whole comparison."""

    machine: dict[str, Any]
    versions: dict[str, str]
    threads: int
    created: str
    skipped: dict[str, str] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    interrupted: bool = False
    schema: int = SCHEMA

    @property
    def races(self) -> list[Table]:
        """The tables that stand for themselves."""
        return [table for table in self.tables if not table.series]

    def curve(self, series: str, op: str) -> list[Table]:
        """Return the points of a curve in their order."""
        return sorted((t for t in self.tables if (t.series, t.op) == (series, op)), key=lambda table: table.at)

    def to_json(self) -> str:
        """Return the result as JSON; NaN and infinity, which JSON lacks, as strings."""
        return json.dumps(_encode(dataclasses.asdict(self)), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Return the result that `to_json` wrote; raise ValueError for anything else."""
        try:
            data = _decode(json.loads(text))
            if data["schema"] not in READABLE:
                raise ValueError(f"a result of schema {data['schema']}, this version reads {READABLE}")
            for table in data["tables"]:
                if table.get("limits") is not None:
                    table["limits"] = Limits(**table["limits"])
                table["rows"] = [Row(**row) for row in table["rows"]]
            data["tables"] = [Table(**table) for table in data["tables"]]
            return cls(**data)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a result of this package: {error}") from None

    def save(self, path: str | Path) -> None:
        """Write the JSON to a file."""
        Path(path).write_text(self.to_json(), "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Result:
        """Read a file that `save` wrote."""
        return cls.from_json(Path(path).read_text("utf-8"))


def machine() -> dict[str, Any]:
    """Describe the machine."""
    return {
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _cpu() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _encode(value: Any) -> Any:
    """Replace the floats that JSON cannot hold, at any depth; round the others to 6 digits."""
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encode(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value


def _decode(value: Any) -> Any:
    """Undo `_encode`."""
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return float(value) if value in ("nan", "inf", "-inf") else value
