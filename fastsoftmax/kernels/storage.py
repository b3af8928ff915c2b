"""Where a kernel keeps exponentials between two passes."""

from fastsoftmax.jit import inline
from fastsoftmax.simd import empty, is_native, lanes

BLOCK = 16  # elements to which the rows of a tile are rounded up


@inline
def room_for_terms(out, n, in_place):
    """Return room for n terms where they need room of their own: an array, empty where they may stand in `out` itself.

    They need it where `out` has a narrower type than the terms, or is the input, which may be read again.
    """
    return empty(out, n if in_place or not is_native(out) else 0)


@inline
def room_for_tile(x, n):
    """Return room for a vector's width of rows of n elements, rounded up to whole blocks, in the type of the terms."""
    return empty(x, lanes(x) * ((n + BLOCK - 1) // BLOCK * BLOCK))
