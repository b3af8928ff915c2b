"""Loads and stores of consecutive elements, and pointers to them."""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastsoftmax.simd.storage import address, alignment, from_memory, memory_type, to_memory
from fastsoftmax.simd.vector import (
    COMPUTE_TYPE,
    CPU_NAME,
    GROUP,
    I32,
    VECTOR_BITS,
    WIDE,
    Vector,
    call,
    group_of,
    llvm_vector,
    repeat,
    vector_of,
)


@intrinsic
def pointer_to(typingctx, array):
    """Return where an array's elements lie, which serves as the array.

    Numba counts references to arrays wherever they are passed, and the calls that count empty every vector register.
    """
    pointer = types.CPointer(array.dtype)

    def codegen(context, builder, sig, values):
        return context.make_array(array)(context, builder, values[0]).data

    return pointer(array), codegen


@intrinsic
def pointer_behind(typingctx, pointer, n):
    """Return where the element is that is n behind the one that a pointer is to."""
    return pointer(pointer, types.intp), lambda context, builder, sig, values: builder.gep(values[0], [values[1]])


@intrinsic
def address_of(typingctx, pointer):
    """Return a pointer as a number."""
    return types.intp(pointer), lambda context, builder, sig, values: builder.ptrtoint(values[0], ir.IntType(64))


def _pointer_at(dtype):
    pointer = types.CPointer(dtype)

    def codegen(context, builder, sig, values):
        return builder.inttoptr(values[-1], context.get_value_type(pointer))

    return pointer, codegen


@intrinsic
def numbers_at(typingctx, array, address):
    """Return a pointer to numbers, at an address, of the type that `array` is computed in."""
    pointer, codegen = _pointer_at(vector_of(array).dtype)
    return pointer(array, types.intp), codegen


@intrinsic
def wide_at(typingctx, address):
    """Return a pointer to float64 at an address."""
    pointer, codegen = _pointer_at(types.float64)
    return pointer(types.intp), codegen


@intrinsic
def keep_alive(typingctx, array):
    """Use an array, so that it lives until here."""
    return types.void(array), lambda context, builder, sig, values: context.get_dummy_value()


def _scratch(dtype, vectors):
    def codegen(context, builder, sig, values):
        element = context.get_data_type(dtype)
        one = ir.ArrayType(element, VECTOR_BITS // dtype.bitwidth)
        if isinstance(vectors, types.IntegerLiteral):
            room = cgutils.alloca_once(builder, one, size=vectors.literal_value)
        else:
            room = builder.alloca(one, size=values[-1])
        room.align = VECTOR_BITS // 8
        return builder.bitcast(room, element.as_pointer())

    return types.CPointer(dtype), codegen


@intrinsic(prefer_literal=True)
def scratch(typingctx, array, vectors):
    """Return room on the stack for so many vectors, none of which crosses a cache line; in no loop."""
    pointer, codegen = _scratch(vector_of(array).dtype, vectors)
    return pointer(array, vectors), codegen


@intrinsic(prefer_literal=True)
def scratch_wide(typingctx, vectors):
    """Return room on the stack for so many vectors of float64; in no loop."""
    pointer, codegen = _scratch(types.float64, vectors)
    return pointer(vectors), codegen


@intrinsic
def in_a_line(typingctx, array):
    """Return how many elements a cache line holds."""
    count = 64 * 8 // array.dtype.bitwidth
    return types.intp(array), lambda context, builder, sig, values: ir.Constant(ir.IntType(64), count)


#: Whether a processor that writes whole lines, one behind the other, does not read them first; if asked for, it does.
WRITES_WHOLE_LINES = CPU_NAME == "znver5"


def _prefetch(array, is_written, locality=2):
    def codegen(context, builder, sig, values):
        pointer = address(context, builder, array, *values, ir.IntType(8))
        call(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, I32(is_written), I32(locality), I32(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@intrinsic
def prefetch(typingctx, array, index):
    """Ask for the cache line of array[index] to be brought near; no index is wrong."""
    return _prefetch(array, 0)


@intrinsic
def prefetch_nearest(typingctx, array, index):
    """Ask for the cache line of array[index] to be brought into the nearest cache; no index is wrong."""
    return _prefetch(array, 0, locality=3)


@intrinsic
def prefetch_to_write(typingctx, array, index):
    """Ask for the cache line of array[index] to be brought near, to be written to; no index is wrong."""
    return _prefetch(array, 1)


def _load(vector, array):
    def codegen(context, builder, sig, values):
        pointer = address(context, builder, array, *values, memory_type(array, vector))
        return from_memory(builder, array, vector, builder.load(pointer, align=alignment(array)))

    return vector(array, types.intp), codegen


@intrinsic
def load(typingctx, array, index):
    """Return the vector that begins at array[index]."""
    return _load(vector_of(array), array)


@intrinsic
def load_group(typingctx, array, index):
    """Return the four vectors that begin at array[index] as one of four times the lanes."""
    return _load(group_of(array), array)


@intrinsic
def load_two(typingctx, array, index):
    """Return the two vectors that begin at array[index] as one of twice the lanes."""
    vector = vector_of(array)
    return _load(Vector(vector.dtype, 2 * vector.lanes), array)


@intrinsic
def load_group_wide(typingctx, array, index):
    """Return four times as many elements as `load_wide` does, as a group."""
    return _load(Vector(types.float64, GROUP * WIDE), array)


@intrinsic
def load_wide(typingctx, array, index):
    """Return what `load` does, as WIDE lanes of float64."""
    return _load(Vector(types.float64, WIDE), array)


@intrinsic
def store(typingctx, array, index, value):
    """Write a vector to array[index] and behind."""

    def codegen(context, builder, sig, values):
        pointer = address(context, builder, array, *values[:2], memory_type(array, value))
        builder.store(to_memory(builder, array, value, values[2]), pointer, align=alignment(array))
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def to_aligned(typingctx, array, index):
    """Return how many elements behind array[index] the next address is that is a multiple of a vector's size.

    Only there can one be written past the caches.
    """

    def codegen(context, builder, sig, values):
        size = array.dtype.bitwidth // 8
        whole = vector_of(array).lanes * size
        place = builder.ptrtoint(address(context, builder, array, *values, ir.IntType(8)), ir.IntType(64))
        return builder.udiv(builder.and_(builder.neg(place), ir.IntType(64)(whole - 1)), ir.IntType(64)(size))

    return types.intp(array, types.intp), codegen


def _first_lanes(builder, count, width):
    lane = ir.VectorType(I32, width)
    limit = builder.select(builder.icmp_signed("<", count, ir.IntType(64)(width)), count, ir.IntType(64)(width))
    numbers = ir.Constant(lane, list(range(width)))
    return builder.icmp_signed("<", numbers, repeat(builder, lane, builder.trunc(limit, I32)))


def _element_suffix(array):
    return "i16" if array.dtype.bitwidth == 16 else f"f{array.dtype.bitwidth}"


def _load_first(vector, array):
    def codegen(context, builder, sig, values):
        memory = memory_type(array, vector)
        pointer = address(context, builder, array, *values[:2], memory)
        mask = _first_lanes(builder, values[2], vector.lanes)
        fill = {types.uint16: 0xFC00, types.int16: 0xFF80}.get(array.dtype, float("-inf"))
        args = [pointer, I32(alignment(array)), mask, ir.Constant(memory, [fill] * vector.lanes)]
        name = f"llvm.masked.load.v{vector.lanes}{_element_suffix(array)}.p0"
        return from_memory(builder, array, vector, call(builder, name, memory, args))

    return vector(array, types.intp, types.intp), codegen


@intrinsic
def load_first(typingctx, array, index, count):
    """Return the vector that begins at array[index], reading `count` lanes only: the others are -inf."""
    return _load_first(vector_of(array), array)


@intrinsic
def load_first_wide(typingctx, array, index, count):
    """Return what `load_first` does, as WIDE lanes of float64."""
    return _load_first(Vector(types.float64, WIDE), array)


def _store_first(array, vector):
    def codegen(context, builder, sig, values):
        pointer = address(context, builder, array, *values[:2], memory_type(array, vector))
        mask = _first_lanes(builder, values[3], vector.lanes)
        args = [to_memory(builder, array, vector, values[2]), pointer, I32(alignment(array)), mask]
        call(builder, f"llvm.masked.store.v{vector.lanes}{_element_suffix(array)}.p0", ir.VoidType(), args)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), codegen


@intrinsic
def store_first(typingctx, array, index, value, count):
    """Write the first `count` lanes of a vector to array[index] and behind."""
    return _store_first(array, value)


@intrinsic
def store_one(typingctx, array, index, value):
    """Write a float64, converted, to array[index]; the index may be negative, as a step may be.

    Not with a mask of one lane: LLVM 22 may then write four bytes of a narrower type.
    """
    single = Vector(types.float64, 1)

    def codegen(context, builder, sig, values):
        lane = builder.insert_element(ir.Constant(llvm_vector(single), ir.Undefined), values[2], I32(0))
        lane = to_memory(builder, array, single, lane)
        pointer = address(context, builder, array, *values[:2], lane.type)
        builder.store(lane, pointer, align=alignment(array))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.float64), codegen


@intrinsic
def copy_one(typingctx, source, index, target, to):
    """Write source[index], converted, to target[to]."""
    single = Vector(COMPUTE_TYPE[source.dtype], 1)

    def codegen(context, builder, sig, values):
        source_value, index, target_value, to = values
        value = builder.load(
            address(context, builder, source, source_value, index, memory_type(source, single)),
            align=alignment(source),
        )
        value = to_memory(builder, target, single, from_memory(builder, source, single, value))
        pointer = address(context, builder, target, target_value, to, value.type)
        builder.store(value, pointer, align=alignment(target))
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), codegen
