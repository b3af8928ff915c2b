"""What the contenders compute: standard shapes, real input, and the user's own array. One record each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fastsoftmax.compare import exact, real

Op = Literal["softmax", "log_softmax", "logsumexp"]
OPS: tuple[Op, ...] = get_args(Op)
_NO_NUMBERS = {"U": "text", "S": "bytes", "M": "dates", "m": "time differences", "V": "records"}


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one clear line."""


@dataclass(frozen=True)
class Workload:
    """An input, the axis to reduce, and the functions worth comparing on it.

    ``build`` makes the input when it is needed. ``quick`` ones are in the short comparison too. A workload of a
    ``series`` is a point of a curve, ``at`` its place there; those of "scale" are judged, not timed.
    """

    name: str
    build: Callable[[], real.Input]
    axis: int = -1
    ops: tuple[Op, ...] = OPS
    quick: bool = False
    series: str = ""
    at: float = 0.0


def random(*shape: int, dtype: str = "float32", axis: int = -1) -> real.Input:
    """Make normal numbers whose spread differs from row to row: 1, 3 and 10, so some softmax rows are peaked.

    Nearly uniform rows alone would let wrong implementations pass.
    """
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    scales = np.array([1, 3, 10], np.float32)
    rows = np.moveaxis(x, axis, -1)
    rows *= np.resize(scales, rows.shape[:-1])[..., None]
    return real.Input(x.astype(dtype))


def standard(
    *shape: int,
    dtype: str = "float32",
    axis: int = -1,
    ops: tuple[Op, ...] = ("softmax", "logsumexp"),
    quick: bool = False,
) -> Workload:
    """Return the record of a standard shape, named by what sets it apart."""
    name = " x ".join(map(str, shape)) + f" {dtype}" + (f", axis {axis}" if axis != -1 else "")
    return Workload(name, lambda: random(*shape, dtype=dtype, axis=axis), axis, ops, quick)


WORKLOADS = (
    Workload("digits", real.digits, quick=True),
    Workload("language", real.language),
    Workload("mixture", real.mixture, ops=("logsumexp",), quick=True),
    standard(64, 1000, ops=OPS, quick=True),
    standard(1024, 1000),
    standard(1024, 997),
    standard(8, 128256),
    standard(20_000, 1000, ops=OPS),
    standard(100_000, 10),
    standard(1000, 1024, axis=0),
    standard(100_000, 10, axis=0),
    standard(4, 21, 200, 300, axis=1),
    standard(1, 1 << 22),
    standard(1024, 1000, dtype="float64", ops=OPS),
    standard(100_000, 10, dtype="float64"),
    standard(1000, 1024, dtype="float64", axis=0),
)


def _of_size(rows: int) -> Workload:
    """Return a point of the curve of speed against size."""
    record = standard(rows, 1024, quick=rows <= 256)
    return replace(record, series="size", at=1024.0 * rows)


def _of_scale(scale: float) -> Workload:
    """Return a point of the curve of errors against the scale of the input."""

    def build() -> real.Input:
        x = np.random.default_rng(0).standard_normal((200, 1000)).astype(np.float32)
        return real.Input(x * np.float32(scale))

    return Workload(f"normal x {scale:g}", build, quick=True, series="scale", at=scale)


CURVES = (
    *(_of_size(4**k) for k in range(8)),
    *(_of_scale(4.0**k) for k in range(-3, 7)),
)


def from_file(path: str | Path, axis: int = -1, op: Op | None = None) -> Workload:
    """Return the workload of a user's .npy file; raise InputError for whatever is wrong with it."""
    path = Path(path)
    x = check_array(_load(path), path.name)
    if not -x.ndim <= axis < x.ndim:
        valid = f"{-x.ndim} to {x.ndim - 1}"
        raise InputError(f"axis {axis} does not exist: {path.name} has shape {x.shape}, so {valid} do")
    unusual = int(x.size - np.isfinite(x).sum())
    remark = f"{unusual} elements are not finite" if unusual else ""
    return Workload(path.name, lambda: real.Input(x, remark), axis, (op,) if op else OPS, quick=True)


def check_array(x: Any, name: str) -> NDArray[Any]:
    """Return the array in native byte order, integers as float64; raise InputError if it cannot be used."""
    if not isinstance(x, np.ndarray):
        raise InputError(f"{name} holds several arrays; save the one to compare with numpy.save")
    if x.dtype.name not in exact.FORMATS and x.dtype.kind not in "biu":
        what = _NO_NUMBERS.get(x.dtype.kind, x.dtype.name)
        raise InputError(f"{name} holds {what}; float16, float32, float64 or integers are needed")
    if x.ndim == 0:
        raise InputError(f"{name} is a single number; an array with at least one axis is needed")
    if x.size == 0:
        raise InputError(f"{name} is empty (shape {x.shape}); there is nothing to compare")
    return np.ascontiguousarray(x, np.float64 if x.dtype.kind in "biu" else x.dtype.newbyteorder("="))


def _load(path: Path) -> Any:
    """Read a .npy file, with every failure as an InputError."""
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; a .npy file is needed") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except MemoryError:
        raise InputError(f"{path} is too large for this machine's memory") from None
    except (ValueError, EOFError, SyntaxError) as error:
        if "Object arrays" in str(error):
            raise InputError(f"{path} holds Python objects; save numbers, with x.astype(float)") from None
        raise InputError(f"{path} is not a .npy file (make one with numpy.save)") from None
