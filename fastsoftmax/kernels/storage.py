"""Where a kernel keeps exponentials between two passes, and how it writes results."""

from fastsoftmax.jit import inline
from fastsoftmax.simd import empty, is_native

# What a kernel's result is: another array than x, the same, or another that is larger than caches. The last is written
# past them, a line at a time: so no line is read before it is written, which is a third of what goes through memory.
OUT_IS_APART, OUT_IS_X, OUT_IS_LARGE = 0, 1, 2


@inline
def room_for_terms(out, n, out_is):
    """Return room for n terms where they need room of their own: an array, empty where they may stand in `out` itself.

    They need it where `out` has a narrower type than the terms, or is the input, which may be read again, or is written
    past the caches.
    """
    return empty(out, 0 if out_is == OUT_IS_APART and is_native(out) else n)
