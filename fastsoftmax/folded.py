"""Tall matrices, one after another, in pieces that threads share: `kernels/folded_columns.py`, stage by stage."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastsoftmax import team
from fastsoftmax.jit import Kernel
from fastsoftmax.kernels.folds import ALL, GUESS, SUM, UNITE, WRITE, fold_of, size_of_notes
from fastsoftmax.simd.vector import VECTOR_BITS


def run_in_pieces(
    kernel: Kernel,
    op: str,
    of_x: tuple[Any, ...],
    of_result: tuple[Any, ...],
    planes: int,
    others: tuple[int, ...],
    temperature: float,
) -> None:
    """Compute some planes on all threads.

    Parameters
    ----------
    kernel : Kernel
        One of `kernels/folded_columns.py`, ...
    of_x, of_result, others, temperature
        ... and its arguments: x and where it lies, the result likewise, what is behind the range, the temperature.
    op : str
        What it computes.
    planes : int
        How many there are.
    """
    x, x_start, x_outer, x_pitch = of_x
    out, out_start, out_outer, out_pitch = of_result
    _, n, inner, width, _, flag = others
    itemsize = 8 if x.dtype == np.float64 else 4
    fold = fold_of.py_func(n, inner, width, VECTOR_BITS // (8 * itemsize))
    notes = np.empty(size_of_notes.py_func(fold, itemsize, flag if op == "softmax" else 0))
    piece, of_pieces = fold.piece_rows * width, (n, inner, width, notes.ctypes.data, flag, temperature)
    run_at_once, cells = kernel.unchecked(x.dtype), kernel.cells(x.dtype)
    for p in range(planes):
        before = x, x_start + p * x_outer, x_outer, x_pitch, out, out_start + p * out_outer, out_outer, out_pitch
        run_at_once(*before, 0, fold.pieces, GUESS, *of_pieces, *cells)
        team.share(kernel, x.dtype, fold.pieces, piece, before, (SUM, *of_pieces), True)
        if run_at_once(*before, 0, fold.pieces, UNITE, *of_pieces, *cells):
            behind = ALL, n, inner, width, 0, flag, temperature  # some columns want the careful way
            team.share(kernel, x.dtype, 1, n * inner, before, behind, False)
        elif op != "logsumexp":  # that is done as soon as pieces are united
            team.share(kernel, x.dtype, fold.pieces, piece, before, (WRITE, *of_pieces), True)
