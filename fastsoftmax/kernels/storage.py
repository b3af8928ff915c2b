"""Where a kernel keeps exponentials between two passes, and how it writes results."""

from fastsoftmax.jit import inline
from fastsoftmax.simd import empty, is_native

OUT_IS_APART, OUT_IS_X = 0, 1  #: what a kernel's result is: another array than x, or the same


@inline
def room_for_terms(out, n, out_is):
    """Return room for n terms where they need room of their own: an array, empty where they may stand in `out` itself.

    They need it where `out` has a narrower type than the terms, or is the input, which may be read again.
    """
    return empty(out, 0 if out_is == OUT_IS_APART and is_native(out) else n)
