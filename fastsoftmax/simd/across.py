"""Across the lanes: their sum and largest, masks as a whole, groups and the vectors in them."""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastsoftmax.simd.vector import (
    GROUP,
    HAS_AVX512,
    I32,
    Vector,
    call,
    common_vector,
    halves,
    joined,
    lane_function,
    operands,
    repeat,
    shuffle,
)


@intrinsic
def largest(typingctx, a):
    """Return the largest lane; any lane, NaN or not, where there is a NaN."""

    def emit(builder, vector, x):
        while x.type.count > 1:
            a, b = halves(builder, x)
            x = builder.select(builder.fcmp_ordered(">", a, b), a, b)
        return builder.extract_element(x, I32(0))

    return lane_function(emit, lambda vector: vector.dtype)((a,))


@intrinsic
def largest_of_four(typingctx, group):
    """Return of each lane the largest in the four vectors of a group; any, NaN or not, where there is a NaN."""
    vector = Vector(group.dtype, group.lanes // GROUP)

    def codegen(context, builder, sig, values):
        whole = values[0]
        while whole.type.count > vector.lanes:
            a, b = halves(builder, whole)
            whole = builder.select(builder.fcmp_ordered(">", a, b), a, b)
        return whole

    return vector(group), codegen


def _two_sum(builder, a, b):
    """Return a + b and what its rounding lost (Knuth's two-sum)."""
    s = builder.fadd(a, b)
    back = builder.fsub(s, a)
    return s, builder.fadd(builder.fsub(a, builder.fsub(s, back)), builder.fsub(b, back))


@intrinsic
def sum_lanes(typingctx, a, b):
    """Return the sum of all lanes of a and of b, small beside them, as two float64, the second the first's error.

    float32 lanes are added in float64, which leaves no error worth keeping: then the second is 0.
    """
    pair = types.UniTuple(types.float64, 2)
    vector = common_vector((a, b))

    def codegen(context, builder, sig, values):
        x, y = operands(context, builder, vector, values, sig.args)
        lost = None
        if vector.dtype.bitwidth == 32:
            wide = ir.VectorType(ir.DoubleType(), vector.lanes)
            x = builder.fadd(builder.fpext(x, wide), builder.fpext(y, wide))
        else:
            lost = y
        while x.type.count > 1:
            if lost is None:
                x = builder.fadd(*halves(builder, x))
            else:
                x, error = _two_sum(builder, *halves(builder, x))
                lost = builder.fadd(builder.fadd(*halves(builder, lost)), error)
        total = builder.extract_element(x, I32(0))
        rest = ir.DoubleType()(0.0) if lost is None else builder.extract_element(lost, I32(0))
        return context.make_tuple(builder, pair, [total, rest])

    return pair(a, b), codegen


@intrinsic
def any_set(typingctx, mask):
    """Tell whether a lane of a mask is set."""

    def codegen(context, builder, sig, values):
        whole = ir.IntType(mask.lanes)
        return builder.icmp_unsigned("!=", builder.bitcast(values[0], whole), whole(0))

    return types.boolean(mask), codegen


@intrinsic
def count_set(typingctx, mask):
    """Return the number of lanes of a mask that are set."""

    def codegen(context, builder, sig, values):
        bits = builder.bitcast(values[0], ir.IntType(mask.lanes))
        return builder.zext(builder.ctpop(bits), ir.IntType(64))

    return types.intp(mask), codegen


@intrinsic
def packed(typingctx, mask, a):
    """Return the lanes that are set in the mask, one behind the other; those behind them are anything."""

    def codegen(context, builder, sig, values):
        lanes, vector = values
        if HAS_AVX512:  # of which some processors write to memory much more slowly than to a register
            return call(builder, f"llvm.x86.avx512.mask.compress.{a.suffix}", vector.type, [vector, vector, lanes])
        room = cgutils.alloca_once_value(builder, vector)
        pointer = builder.bitcast(room, vector.type.element.as_pointer())
        call(builder, f"llvm.masked.compressstore.{a.suffix}", ir.VoidType(), [vector, pointer, lanes])
        return builder.load(room)

    return a(mask, a), codegen


def _keep(a, count, first_kept):
    def codegen(context, builder, sig, values):
        lane = ir.VectorType(I32, a.lanes)
        numbers = ir.Constant(lane, list(range(a.lanes)))
        wanted = builder.trunc(values[1], I32)
        if first_kept:
            mask = builder.icmp_signed("<", numbers, repeat(builder, lane, wanted))
        else:
            first = builder.sub(I32(a.lanes), wanted)
            mask = builder.icmp_signed(">=", numbers, repeat(builder, lane, first))
        return builder.select(mask, values[0], ir.Constant(values[0].type, [0.0] * a.lanes))

    return a(a, types.intp), codegen


@intrinsic
def keep_first(typingctx, a, count):
    """Return a with every lane but the first `count` replaced by zero."""
    return _keep(a, count, True)


@intrinsic
def keep_last(typingctx, a, count):
    """Return a with every lane but the last `count` replaced by zero."""
    return _keep(a, count, False)


@intrinsic
def quarters(typingctx, group):
    """Return the four vectors of a group."""
    vector = Vector(group.dtype, group.lanes // GROUP)

    def codegen(context, builder, sig, values):
        whole = values[0]
        parts = [
            shuffle(builder, whole, whole, range(k, k + vector.lanes)) for k in range(0, group.lanes, vector.lanes)
        ]
        return context.make_tuple(builder, types.UniTuple(vector, GROUP), parts)

    return types.UniTuple(vector, GROUP)(group), codegen


@intrinsic
def join(typingctx, a, b, c, d):
    """Return the group of four vectors: the reverse of `quarters`."""

    def codegen(context, builder, sig, values):
        return joined(builder, list(values))

    return Vector(a.dtype, GROUP * a.lanes)(a, b, c, d), codegen


@intrinsic
def repeated(typingctx, a):
    """Return a group of four times the same vector."""
    group = Vector(a.dtype, GROUP * a.lanes)

    def codegen(context, builder, sig, values):
        return shuffle(builder, values[0], values[0], list(range(a.lanes)) * GROUP)

    return group(a), codegen


@intrinsic
def alternate(typingctx, a, b):
    """Return the even lanes of a, and behind them those of b; and the odd ones of both."""
    pair = types.UniTuple(a, 2)

    def codegen(context, builder, sig, values):
        return context.make_tuple(builder, pair, [shuffle(builder, *values, range(k, 2 * a.lanes, 2)) for k in (0, 1)])

    return pair(a, b), codegen
