"""What depends on the type that an array is computed in: the number of lanes, and numbers for all of them."""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastsoftmax.simd.vector import WIDE, Vector, group_of, llvm_vector, operands, vector_of


@intrinsic
def lanes(typingctx, array):
    """Return the number of lanes of the vectors of `array`."""
    count = vector_of(array).lanes
    return types.intp(array), lambda context, builder, sig, values: ir.IntType(64)(count)


@intrinsic
def splat(typingctx, array, value):
    """Return a vector for `array` with `value` in every lane."""
    vector = vector_of(array)

    def codegen(context, builder, sig, values):
        return operands(context, builder, vector, values[1:], sig.args[1:])[0]

    return vector(array, value), codegen


@intrinsic
def splat_group(typingctx, array, value):
    """Return what `splat` does for a group of vectors."""
    vector = group_of(array)

    def codegen(context, builder, sig, values):
        return operands(context, builder, vector, values[1:], sig.args[1:])[0]

    return vector(array, value), codegen


@intrinsic
def splat_wide(typingctx, value):
    """Return WIDE lanes of float64 with `value` in each."""
    vector = Vector(types.float64, WIDE)

    def codegen(context, builder, sig, values):
        return operands(context, builder, vector, values, sig.args)[0]

    return vector(value), codegen


@intrinsic
def lane_numbers(typingctx, array):
    """Return a vector for `array` with 0, 1, 2 ... in its lanes."""
    vector = vector_of(array)

    def codegen(context, builder, sig, values):
        return ir.Constant(llvm_vector(vector), [float(lane) for lane in range(vector.lanes)])

    return vector(array), codegen


@intrinsic
def choose(typingctx, array, for_single, for_double):
    """Return, as float64, the constant for the type that `array` is computed in."""
    index = 1 if vector_of(array).dtype == types.float32 else 2

    def codegen(context, builder, sig, values):
        return context.cast(builder, values[index], sig.args[index], types.float64)

    return types.float64(array, for_single, for_double), codegen


def constant(single, double):
    """Return a function of an array: that of two numbers, as float64, which is for the type that it is computed in.

    A function of Numba's, with `choose` in it, would be compiled for each type, which takes ten times as long.
    """

    @intrinsic
    def chosen(typingctx, array):
        number = float(single if vector_of(array).dtype == types.float32 else double)
        return types.float64(array), lambda context, builder, sig, values: ir.DoubleType()(number)

    return chosen


@intrinsic
def rounded(typingctx, array, value):
    """Return a float64 rounded to the type that `array` is computed in."""
    dtype = vector_of(array).dtype

    def codegen(context, builder, sig, values):
        narrow = context.cast(builder, values[1], types.float64, dtype)
        return context.cast(builder, narrow, dtype, types.float64)

    return types.float64(array, types.float64), codegen
