"""Arrays between pages that no one may touch: a read or write beside them kills the process.

Run as ``python guarded.py TYPE``, it calls every way through an array of that type with inputs, masks, weights and
results that begin right behind such a page or end right before one. Inputs are read-only memory during the call. What
is left free beside a result holds a pattern, which must be intact afterwards. Each result must have the bits that it
has on ordinary memory.
"""

import ctypes
import faulthandler
import itertools
import mmap
import sys

import ml_dtypes
import numpy as np

import fastsoftmax
from fastsoftmax import direct, routes, steps

OPS = ("softmax", "log_softmax", "logsumexp")
SIDES = ("begin", "end")
TYPES = {name: np.dtype(name) for name in ("float32", "float64", "float16")} | {"bfloat16": ml_dtypes.bfloat16}
NONE, READ, READ_WRITE = 0, 1, 3  # of <sys/mman.h>
PATTERN = 0xA5
NEAR = 4096  # bytes beside a result that are looked at


class Room:
    """Memory with a forbidden page on both sides."""

    def __init__(self, size):
        self.size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self.map = mmap.mmap(-1, self.size + 2 * mmap.PAGESIZE)
        self.bytes = np.frombuffer(self.map, np.uint8)[mmap.PAGESIZE : -mmap.PAGESIZE]
        self.start = self.bytes.ctypes.data
        self._protect(self.start - mmap.PAGESIZE, mmap.PAGESIZE, NONE)
        self._protect(self.start + self.size, mmap.PAGESIZE, NONE)

    @staticmethod
    def _protect(address, size, access):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), ctypes.c_int(access)):
            raise OSError(ctypes.get_errno(), "mprotect")

    def allow(self, access):
        """Make the memory between the pages readable, or writable too."""
        self._protect(self.start, self.size, access)

    def place(self, shape, dtype, side, pitch=None):
        """Return an array at a side of the room; its rows are `pitch` elements apart. Around it is the pattern."""
        dtype = np.dtype(dtype)
        strides = np.empty(shape, dtype).strides if pitch is None else (pitch * dtype.itemsize, dtype.itemsize)
        extent = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + dtype.itemsize
        assert extent <= self.size
        self.first = 0 if side == "begin" else self.size - extent
        self.last = self.first + extent
        self.bytes[max(0, self.first - NEAR) : self.last + NEAR] = PATTERN
        return np.ndarray(shape, dtype, self.bytes.data, self.first, strides)

    def is_intact_beside(self):
        """Tell whether the pattern is still there, up to NEAR bytes from the array."""
        before, behind = self.bytes[max(0, self.first - NEAR) : self.first], self.bytes[self.last : self.last + NEAR]
        return (before == PATTERN).all() and (behind == PATTERN).all()


# (rows, length) of rows and narrow rows, of rows further apart than they are long, and of columns.
LENGTHS = (*range(1, 20), 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 96, 97, 127, 129, 191, 192, 193, 207, 209, 257, 1000)
COUNTS = (1, 2, 3, 5, 8, 9, 15, 16, 17, 33)
COLUMNS = [(n, inner) for n in (2, 3, 5, 17, 130, 230) for inner in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 129)]
LONG = [(1, 2**18 + 1), (2, 2**18 + 77)]
IN_LINES = [(5, 512), (20, 272), (130, 256), (230, 272), (70, 1200)]  # columns behind a head, wherever that begins
PAST_CACHES = [(9, 70), (17, 300), (13, 450), (9, 1000), (3, 997), (5, 512), (3, 4100), (1, 5000), (2, 2**18 + 3)]
TALL = [(8200, 3), (20_001, 9), (3, 1025), (997, 13), (400, 33)]
SPECIAL = (None, np.nan, np.inf, -np.inf, "huge", "peak", "spike", "masked")


def fill(x, special, seed):
    """Write a row of each kind: most plain, so that the fast ways begin; some so that they fail."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 3, x.shape)
    if special in ("huge", "peak", "spike"):
        values[-1, -1] = {"huge": 3e4, "peak": 40, "spike": 300}[special]
    elif special == "masked":
        values[rng.random(x.shape) < 0.5] = -np.inf
    elif special is not None:
        values[x.shape[0] // 2, -1] = special
    with np.errstate(over="ignore"):
        x[...] = values.astype(x.dtype)


def copy_of(x):
    """Return a copy in ordinary memory, with rows as far apart where they are."""
    copy = x.copy(order="K")
    if x.ndim == 2 and x.strides[1] == x.itemsize and x.strides[0] > copy.strides[0]:
        copy = np.empty((len(x), x.strides[0] // x.itemsize), x.dtype)[:, : x.shape[1]]
        copy[...] = x
    return copy


class Trial:
    """Calls on guarded memory and on ordinary memory, which must agree."""

    def __init__(self, size):
        self.rooms = {name: Room(size) for name in ("x", "out", "more")}
        self.calls = 0

    def same(self, op, x, axis, note, sides=SIDES, in_place=True, **keywords):
        """Compare the calls for an array in the room of x: a result anew, in `out` on each side, in place."""
        plain = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in keywords.items()}
        expected = np.asarray(getattr(fastsoftmax, op)(copy_of(x), axis, **plain))
        self.rooms["x"].allow(READ)
        self._check(getattr(fastsoftmax, op)(x, axis, **keywords), expected, note)
        for side in sides:
            out = self.rooms["out"].place(expected.shape, expected.dtype, side)
            getattr(fastsoftmax, op)(x, axis, out=out, **keywords)
            self._check(out, expected, (note, side))
            assert self.rooms["out"].is_intact_beside(), (op, note, side)
        self.rooms["x"].allow(READ_WRITE)
        if in_place and op != "logsumexp" and x.dtype == expected.dtype:
            getattr(fastsoftmax, op)(x, axis, out=x, **keywords)
            self._check(x, expected, (note, "in place"))
            if x.flags.c_contiguous:
                assert self.rooms["x"].is_intact_beside(), (op, note)

    def _check(self, got, expected, note):
        self.calls += 1
        got = np.asarray(got)
        assert got.dtype == expected.dtype, note
        assert got.shape == expected.shape, note
        wide = [v.astype(np.float64) for v in (got, expected)]
        assert np.array_equal(*wide, equal_nan=True), note

    def rows(self, dtype, method, shapes, axis=1):
        """Try rows, or columns, in all ways that their memory may end."""
        for k, (shape, op) in enumerate(itertools.product(shapes, OPS)):
            special = SPECIAL[k // 3 % len(SPECIAL)]
            pitch = (None, shape[1] + 3)[k % 2 if k % 3 else 0]
            for side in SIDES:
                x = self.rooms["x"].place(shape, dtype, side, pitch)
                fill(x, special, k)
                self.same(op, x, axis, (method, shape, axis, op, special, side, pitch), method=method)

    def copied(self, dtype):
        """Try what goes through tiles: steps, bytes swapped, masks, weights, negative temperatures, odd addresses."""
        for k, (shape, op, side) in enumerate(itertools.product([(3, 5), (7, 64), (2, 131), (40, 3)], OPS, SIDES)):
            x = self.rooms["x"].place(shape, dtype, side)
            fill(x, SPECIAL[k % len(SPECIAL)], k)
            self.same(op, x[:, ::2], 1, ("step", shape, op, side), in_place=False)
            self.same(op, x[:, ::-1], 1, ("backwards", shape, op, side), in_place=False)
            self.same(op, x.T, (0, 1), ("both axes", shape, op, side), sides=(), in_place=False)
            mask = self.rooms["more"].place(shape, bool, side)
            mask[...] = np.arange(mask.size).reshape(shape) % 3 > 0
            self.same(op, x, 1, ("where", shape, op, side), where=mask, in_place=False)
            if op == "logsumexp":
                b = self.rooms["more"].place(shape, dtype, side)
                b[...] = 1
                self.same(op, x, 1, ("weights", shape, side), b=b)
            else:
                for temperature in (0.7, -2.0):
                    self.same(op, x, 1, ("temperature", shape, op, side), temperature=temperature, in_place=False)
            odd = self.rooms["x"].place((x.nbytes + 1,), np.uint8, side)
            unaligned = odd[1 - (side == "end") :][: x.nbytes].view(dtype).reshape(shape)
            fill(unaligned, None, k)
            self.same(op, unaligned, 1, ("unaligned", shape, op, side), in_place=False)
            if np.dtype(dtype).kind == "f":
                swapped = self.rooms["x"].place(shape, np.dtype(dtype).newbyteorder("S"), side)
                fill(swapped, None, k)
                self.same(op, swapped, 1, ("swapped", shape, op, side), in_place=False)
            whole = self.rooms["x"].place(shape, np.int8, side)
            whole[...] = np.arange(whole.size).reshape(shape) % 100
            self.same(op, whole, 1, ("integers", shape, op, side))


def main():
    """Try everything for one type and print how many calls there were."""
    faulthandler.enable()
    faulthandler.dump_traceback_later(390, exit=True)
    np.seterr(all="ignore")
    dtype = TYPES[sys.argv[1]]
    trial = Trial(3 * 2**21)
    shapes = [(COUNTS[i % len(COUNTS)], n) for i, n in enumerate(LENGTHS)]
    shapes += [(rows, n) for n in (1, 2, 3, 4, 5, 7, 10, 16, 31, 63, 100) for rows in (7, 8, 16, 17, 33)]
    fastsoftmax.set_num_threads(2)
    trial.rows(dtype, "auto", shapes)
    trial.rows(dtype, "parallel", shapes[::3])
    for method in ("naive", "stable", "online", "two_pass"):
        trial.rows(dtype, method, shapes[::2])
    trial.rows(dtype, "auto", COLUMNS, axis=0)
    trial.rows(dtype, "auto", LONG)
    trial.rows(dtype, "parallel", LONG)
    trial.rows(dtype, "auto", TALL, axis=0)
    trial.rows(dtype, "auto", IN_LINES, axis=0)
    trial.copied(dtype)
    routes.PAST_CACHES = routes.COLUMNS_PAST_CACHES = 1
    direct._plan.cache_clear()
    steps.steps_for.cache_clear()
    trial.rows(dtype, "auto", PAST_CACHES)
    trial.rows(dtype, "auto", [(3, 64), (5, 512), (17, 1040), (20, 272), (230, 272)], axis=0)
    print(trial.calls)


if __name__ == "__main__":
    main()
