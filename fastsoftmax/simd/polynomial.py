"""Polynomials by Horner's rule."""

from llvmlite import ir
from numba.extending import intrinsic

from fastsoftmax.simd.vector import HAS_AVX512, Vector, call


def polynomial(double, single=(), keeps_whole=False):
    """Return a function of a vector, or of a float64: c0 + c1·x + c2·x² + ..., where c0, c1, ... are for its type.

    With `keeps_whole` LLVM does not know that a coefficient is the same number in every lane. So it never saves a
    register by repeating that number wherever it is wanted, which takes the time of an addition: it stays in a register
    or comes from memory as a whole vector. Where registers are few, that is so in any case.
    """

    @intrinsic
    def by_horners_rule(typingctx, x):
        dtype = x.dtype if isinstance(x, Vector) else x
        coefficients = double if dtype.bitwidth == 64 else single
        suffix = x.suffix if isinstance(x, Vector) else f"f{dtype.bitwidth}"

        def codegen(context, builder, sig, values):
            (value,) = values
            *others, result = [_constant(builder, value.type, suffix, c, keeps_whole) for c in coefficients]
            for c in reversed(others):
                result = call(builder, f"llvm.fma.{suffix}", value.type, [result, value, c])
            return result

        return x(x), codegen

    return by_horners_rule


def _constant(builder, llvm_type, suffix, number, keeps_whole):
    """Return a number, or a vector with it in every lane."""
    if not isinstance(llvm_type, ir.VectorType):
        return llvm_type(number)
    repeated = ir.Constant(llvm_type, [number] * llvm_type.count)
    if HAS_AVX512 and not keeps_whole:
        return repeated
    return call(builder, f"llvm.arithmetic.fence.{suffix}", llvm_type, [repeated])
