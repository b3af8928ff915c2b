"""How tall matrices are folded, and cut into pieces, and where what is kept of these lies."""

import collections

from fastsoftmax.jit import inline
from fastsoftmax.kernels.column_pivots import KEPT, SUMS, Kept
from fastsoftmax.kernels.strips import CHUNK, Matrix, Strip
from fastsoftmax.simd import (
    address_of,
    choose,
    empty,
    empty_wide,
    lanes,
    numbers_at,
    pointer_behind,
    pointer_to,
    wide_at,
)

PIECE, PIECE_ROWS, PIECES = 2**17, 1024, 32  # elements and rows of a piece at least, and how many pieces at most
GUESS, SUM, UNITE, WRITE = 1, 2, 4, 8  # stages: what a kernel does with the pieces of one plane, or ...
ALL = GUESS + SUM + UNITE + WRITE  # ... with some planes

#: Columns of a plane as it is, and folded, as strips; the whole rows of the latter, and the elements that are left; the
#: pieces, the rows of each, how many columns apart those of two are kept, and the room for a number of all and a guess.
Fold = collections.namedtuple("Fold", "plane strip rows rest pieces piece_rows pitch room")


@inline
def fold_of(n, inner, width, lanes):
    """Return how planes of n times `inner` elements are folded to rows of `width`, and cut into pieces."""
    rows = n * inner // width
    pieces = max(1, min(PIECES, rows * width // PIECE, rows // PIECE_ROWS))
    piece_rows = max(1, -(-rows // (pieces * CHUNK))) * CHUNK
    pieces = max(1, -(-rows // piece_rows))
    pitch = width + 2 * lanes
    plane, strip = Strip(0, 1, 0, inner, 0), Strip(0, 1, 0, width, 0)
    return Fold(plane, strip, rows, n * inner - rows * width, pieces, piece_rows, pitch, (pieces + 1) * pitch)


@inline
def size_of_notes(fold, itemsize, keeps):
    """Return the room, in float64, for what is kept of all pieces, and of all chunks if it `keeps` terms."""
    chunks = (fold.pieces * fold.piece_rows // CHUNK + 1) * keeps
    return SUMS * fold.room + (KEPT * fold.room + chunks * fold.pitch) * itemsize // 8 + 1


@inline
def notes_at(x, notes, fold):
    """Return what is kept of all pieces, and the matrix of the pivots of each chunk, in the room at an address."""
    numbers = notes + 8 * SUMS * fold.room
    magics = numbers + KEPT * fold.room * choose(x, 4, 8)
    kept = Kept(numbers_at(x, numbers), wide_at(notes), fold.room)
    return kept, Matrix(numbers_at(x, magics), 0, 0, fold.pitch)


@inline
def kept_of(kept, piece, fold):
    """Return what is kept of a piece."""
    place = piece * fold.pitch
    return Kept(pointer_behind(kept.numbers, place), pointer_behind(kept.sums, place), kept.room)


@inline
def rows_of(piece, fold):
    """Return the first whole row of a piece, how many it has, and how many elements behind them."""
    first = piece * fold.piece_rows
    return first, min(fold.piece_rows, fold.rows - first), fold.rest if piece == fold.pieces - 1 else 0


@inline
def folded(data, start, fold):
    """Return the folded matrix that begins at data[start]."""
    return Matrix(data, start, 0, fold.strip.count)


@inline
def unfolded(matrix, fold):
    """Return the matrix as it is."""
    return Matrix(matrix.data, matrix.start, 0, fold.plane.count)


@inline
def planes_of(stage, first, last):
    """Return the first plane of a range and the one behind the last: at a stage there is one, of which pieces come."""
    return (first, last) if stage == ALL else (0, 1)


@inline
def only_at(wanted, stage, begin, end):
    """Return a range, empty at another stage than the wanted one."""
    return (begin, end) if stage & wanted else (begin, begin)


@inline
def pieces_of(stage, first, last, fold):
    """Return the first piece of a range and the one behind the last."""
    return (0, fold.pieces) if stage == ALL else (first, last)


@inline
def room_for_folds(x, n, inner, width, notes, keeps, chunks):
    """Return how planes are folded, room for notes, unless there is some, and for chunks of rows; what these are.

    That is what is kept, the pivots of chunks if it `keeps` terms, and the rows. The room must be kept alive by the
    kernel.
    """
    fold = fold_of(n, inner, width, lanes(x))
    own_notes = empty_wide(0 if notes else size_of_notes(fold, choose(x, 4, 8), keeps))
    tile_room = empty(x, chunks * CHUNK * fold.pitch)
    kept, magics = notes_at(x, notes or address_of(pointer_to(own_notes)), fold)
    tile = Matrix(pointer_to(tile_room), 0, fold.strip.count, fold.pitch)
    return fold, own_notes, tile_room, kept, magics, tile
