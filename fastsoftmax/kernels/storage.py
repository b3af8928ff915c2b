"""Where a kernel keeps exponentials between two passes."""

from fastsoftmax.jit import inline
from fastsoftmax.simd import empty, is_native


@inline
def room_for_terms(out, n, in_place):
    """Return room for n terms where they need room of their own: an array, empty where they may stand in `out` itself.

    They need it where `out` has a narrower type than the terms, or is the input, which may be read again.
    """
    return empty(out, n if in_place or not is_native(out) else 0)
