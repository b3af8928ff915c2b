"""The bits of floats: exponents, the numbers of nodes, and the test of their range."""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastsoftmax.simd.vector import HAS_AVX512, Vector, bits_type, lane_function, llvm_vector, shuffle

MANTISSA_BITS = {32: 23, 64: 52}
NODES = {32: 16 if HAS_AVX512 else 8, 64: 8}  # in an octave
NODE_SHIFT = {width: MANTISSA_BITS[width] - (count - 1).bit_length() for width, count in NODES.items()}
MAGIC_BITS = {32: 0x4B400000, 64: 0x4338000000000000}  # of 1.5 * 2**23 and 1.5 * 2**52


@intrinsic
def ldexp_small(typingctx, value, n):
    """Return value * 2**n for float64 numbers, n a whole one from -1022 to 1023."""

    def codegen(context, builder, sig, values):
        i64 = ir.IntType(64)
        field = builder.shl(builder.add(builder.fptosi(values[1], i64), i64(1023)), i64(52))
        return builder.fmul(values[0], builder.bitcast(field, ir.DoubleType()))

    return types.float64(types.float64, types.float64), codegen


@intrinsic
def split_exponent(typingctx, value):
    """Return (m, n), value = m * 2**n and sqrt(1/2) <= m < sqrt(2), of positive normal float64."""
    pair = types.UniTuple(value, 2)
    least = 0x3FE6A09E667F3BCD  # sqrt(1/2)

    def codegen(context, builder, sig, values):
        x = values[0]
        if isinstance(value, Vector):
            bits = bits_type(value)

            def constant(number):
                return ir.Constant(bits, [number] * value.lanes)
        else:
            bits = ir.IntType(64)
            constant = bits
        raw = builder.bitcast(x, bits)
        exponent = builder.ashr(builder.sub(raw, constant(least)), constant(52))
        mantissa = builder.sub(raw, builder.shl(exponent, constant(52)))
        parts = [builder.bitcast(mantissa, x.type), builder.sitofp(exponent, x.type)]
        return context.make_tuple(builder, pair, parts)

    return pair(value), codegen


@intrinsic
def split_at_node(typingctx, value):
    """Return (j, n, 2**-n) of positive normal lanes, value = m * 2**n and 1 <= m < 2.

    The low bits of j are the number of the last node, a step of an octave, up to m.
    """
    triple = types.UniTuple(value, 3)
    width = value.dtype.bitwidth
    mantissa, bias = MANTISSA_BITS[width], 127 if width == 32 else 1023

    def codegen(context, builder, sig, values):
        bits = bits_type(value)

        def constant(number):
            return ir.Constant(bits, [number] * value.lanes)

        raw, kind = builder.bitcast(values[0], bits), values[0].type
        number = builder.lshr(raw, constant(NODE_SHIFT[width]))
        exponent = builder.sub(builder.lshr(raw, constant(mantissa)), constant(bias))
        power = builder.sub(constant(2 * bias << mantissa), builder.and_(raw, constant((2 * bias + 1) << mantissa)))
        parts = [builder.bitcast(number, kind), builder.sitofp(exponent, kind), builder.bitcast(power, kind)]
        return context.make_tuple(builder, triple, parts)

    return triple(value), codegen


def _add_shifted(shifts):
    """Return what emits value plus steps, as bits, shifted by as much as the width of the type tells."""

    def emit(builder, vector, x, t):
        bits = bits_type(vector)
        shift = ir.Constant(bits, [shifts[vector.dtype.bitwidth]] * vector.lanes)
        moved = builder.shl(builder.bitcast(t, bits), shift)
        return builder.bitcast(builder.add(builder.bitcast(x, bits), moved), x.type)

    return emit


@intrinsic
def shift_exponent(typingctx, value, steps):
    """Return value * 2**n, where n is the integer in the low bits of the mantissa of `steps`.

    The integer is added to the exponent field: `value` and the result must be normal numbers.
    """
    return lane_function(_add_shifted(MANTISSA_BITS))((value, steps))


@intrinsic
def add_node(typingctx, node, steps):
    """Return the number whose bits are those of the node plus steps · 2^(bits of a mantissa) / nodes, 16 or 8."""
    return lane_function(_add_shifted(NODE_SHIFT))((node, steps))


@intrinsic
def note_steps(typingctx, seen, steps):
    """Return `seen` with the bits set that are set in any vector of a group of `steps`."""

    def codegen(context, builder, sig, values):
        raw = builder.bitcast(values[1], bits_type(steps))
        noted = builder.bitcast(values[0], bits_type(seen))
        for k in range(0, steps.lanes, seen.lanes):
            noted = builder.or_(noted, shuffle(builder, raw, raw, range(k, k + seen.lanes)))
        return builder.bitcast(noted, llvm_vector(seen))

    return seen(seen, steps), codegen


@intrinsic
def all_in_range(typingctx, seen):
    """Tell whether all steps that were noted, none below the magic number, are exponents: not too large, not NaN.

    In the highest bit in which one that is not differs from those that are, its own is set.
    """
    width = seen.dtype.bitwidth
    room = width - 1 - NODE_SHIFT[width]  # the bits of an exponent and of the number of a node

    def codegen(context, builder, sig, values):
        bits = bits_type(seen)
        magic = ir.Constant(bits, [MAGIC_BITS[width]] * seen.lanes)
        limit = ir.Constant(bits, [1 << room] * seen.lanes)
        outside = builder.icmp_unsigned(">=", builder.xor(builder.bitcast(values[0], bits), magic), limit)
        mask = ir.IntType(seen.lanes)
        return builder.icmp_unsigned("==", builder.bitcast(outside, mask), mask(0))

    return types.boolean(seen), codegen
