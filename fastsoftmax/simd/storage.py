"""How vectors of the storage types lie in memory."""

from llvmlite import ir
from numba.core import types

from fastsoftmax.simd.vector import Vector, bits_type, llvm_vector


def address(context, builder, array, value, index, kind):
    """Return where array[index] lies, as a pointer to the given type; a pointer serves as an array."""
    data = value if isinstance(array, types.CPointer) else context.make_array(array)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())


def alignment(array):
    """Return the alignment of the elements in bytes: that of vectors is no better."""
    return array.dtype.bitwidth // 8


def memory_type(array, vector):
    """Return how a vector lies in memory: halves as integers, other types as they are."""
    if array.dtype.bitwidth == 16:
        return ir.VectorType(ir.IntType(16), vector.lanes)
    return llvm_vector(Vector(array.dtype, vector.lanes))


def from_memory(builder, array, vector, raw):
    """Return what lay in memory as a vector of the given type."""
    single = Vector(types.float32, vector.lanes)
    if array.dtype == types.uint16:
        raw = builder.bitcast(raw, ir.VectorType(ir.HalfType(), vector.lanes))
    if array.dtype == types.int16:
        bits = bits_type(single)
        shifted = builder.shl(builder.zext(raw, bits), ir.Constant(bits, [16] * vector.lanes))
        raw = builder.bitcast(shifted, llvm_vector(single))
    return raw if raw.type == llvm_vector(vector) else builder.fpext(raw, llvm_vector(vector))


def to_memory(builder, array, vector, value):
    """Return a vector of the given type as it is to lie in memory."""
    single = Vector(types.float32, vector.lanes)
    if array.dtype != types.float64 and vector.dtype == types.float64:
        value = builder.fptrunc(value, llvm_vector(single))
    if array.dtype == types.float64 and vector.dtype != types.float64:
        value = builder.fpext(value, llvm_vector(Vector(types.float64, vector.lanes)))
    if array.dtype == types.uint16:
        half = builder.fptrunc(value, ir.VectorType(ir.HalfType(), vector.lanes))
        return builder.bitcast(half, memory_type(array, vector))
    return _round_to_bfloat16(builder, array, single, value) if array.dtype == types.int16 else value


def _round_to_bfloat16(builder, array, vector, value):
    """Round to nearest, ties to even, by adding half a unit below the upper 16 bits; a NaN stays one."""
    bits = bits_type(vector)

    def constant(number):
        return ir.Constant(bits, [number] * vector.lanes)

    raw = builder.bitcast(value, bits)
    odd = builder.and_(builder.lshr(raw, constant(16)), constant(1))
    rounded = builder.add(raw, builder.add(odd, constant(0x7FFF)))
    rounded = builder.select(builder.fcmp_unordered("uno", value, value), constant(0x7FC00000), rounded)
    return builder.trunc(builder.lshr(rounded, constant(16)), memory_type(array, vector))
