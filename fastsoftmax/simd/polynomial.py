"""Polynomials by Horner's rule."""

from llvmlite import ir
from numba.extending import intrinsic

from fastsoftmax.simd.vector import HAS_AVX512, Vector, call


def polynomial(double, single=(), keeps_whole=False, in_pairs=False):
    """Return a function of a vector, or of a float64: c0 + c1·x + c2·x² + ..., where c0, c1, ... are for its type.

    With `keeps_whole` LLVM does not know that a coefficient is the same number in every lane. So it never saves a
    register by repeating that number wherever it is wanted, which takes the time of an addition: it stays in a register
    or comes from memory as a whole vector. Where registers are few, that is so in any case.

    With `in_pairs` it is (c0 + c1·x) + x²·((c2 + c3·x) + ...): one multiplication more, but half as long a wait.
    """

    @intrinsic
    def evaluate(typingctx, x):
        dtype = x.dtype if isinstance(x, Vector) else x
        coefficients = double if dtype.bitwidth == 64 else single
        suffix = x.suffix if isinstance(x, Vector) else f"f{dtype.bitwidth}"

        def codegen(context, builder, sig, values):
            (value,) = values
            terms = [_constant(builder, value.type, suffix, c, keeps_whole) for c in coefficients]
            if in_pairs:
                pairs = [terms[k : k + 2] for k in range(0, len(terms), 2)]
                terms = [_by_horners_rule(builder, suffix, value, pair) for pair in pairs]
                value = builder.fmul(value, value)
            return _by_horners_rule(builder, suffix, value, terms)

        return x(x), codegen

    return evaluate


def _by_horners_rule(builder, suffix, value, terms):
    """Return t0 + t1·value + t2·value² + ..."""
    *others, result = terms
    for term in reversed(others):
        result = call(builder, f"llvm.fma.{suffix}", value.type, [result, value, term])
    return result


def _constant(builder, llvm_type, suffix, number, keeps_whole):
    """Return a number, or a vector with it in every lane."""
    if not isinstance(llvm_type, ir.VectorType):
        return llvm_type(number)
    repeated = ir.Constant(llvm_type, [number] * llvm_type.count)
    if HAS_AVX512 and not keeps_whole:
        return repeated
    return call(builder, f"llvm.arithmetic.fence.{suffix}", llvm_type, [repeated])
