"""Vectors for Numba: a 64-byte SIMD type, so that a kernel says what each lane does.

LLVM vectorises plain loops when its heuristics like them. A kernel whose arithmetic must keep its order (error-free
sums, rounding by magic numbers) and whose speed is the point cannot leave that to luck. `load` gives a `Vector` of
16 float32 or 8 float64 lanes; ``+ - * <`` and the functions below work on it lane by lane, a scalar operand being
repeated. LLVM maps a vector to whatever registers the machine has (one 512-bit, two 256-bit, four 128-bit): nothing
here knows an instruction set, and every machine computes the same bits.

Arrays of float16 and bfloat16, which Numba does not know, come as their bits in ``uint16`` and ``int16`` arrays; they
are widened to float32 on `load` and rounded on `store`.

Indices are element offsets and are not checked.
"""

import operator

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

VECTOR_BITS = 512
MANTISSA_BITS = {32: 23, 64: 52}
COMPUTE_TYPE = {
    types.float32: types.float32,
    types.float64: types.float64,
    types.uint16: types.float32,  # float16
    types.int16: types.float32,  # bfloat16
}
I32 = ir.IntType(32)


class Vector(types.Type):
    """The Numba type of a SIMD vector: `lanes` values of `dtype`."""

    def __init__(self, dtype, lanes):
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(name=f"Vector({dtype} x {lanes})")

    @property
    def suffix(self):
        """The ending of an LLVM intrinsic's name for this type, as in ``llvm.fma.v16f32``."""
        return f"v{self.lanes}f{self.dtype.bitwidth}"


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """A vector is an LLVM vector; a vector of booleans (a mask) has one bit a lane."""

    def __init__(self, dmm, fe_type):
        is_mask = fe_type.dtype == types.boolean
        element = ir.IntType(1) if is_mask else dmm.lookup(fe_type.dtype).get_value_type()
        super().__init__(dmm, fe_type, ir.VectorType(element, fe_type.lanes))


def vector_of(array):
    """Return the type of the vectors that `load` gives for this array type."""
    dtype = COMPUTE_TYPE[array.dtype]
    return Vector(dtype, VECTOR_BITS // dtype.bitwidth)


# --- helpers that emit LLVM -----------------------------------------------------------------------------------------


def _llvm_vector(vector):
    return ir.VectorType(ir.FloatType() if vector.dtype.bitwidth == 32 else ir.DoubleType(), vector.lanes)


def _bits_type(vector):
    return ir.VectorType(ir.IntType(vector.dtype.bitwidth), vector.lanes)


def _shuffle(builder, a, b, lanes):
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def _splat(builder, llvm_type, scalar):
    undefined = ir.Constant(llvm_type, ir.Undefined)
    first = builder.insert_element(undefined, scalar, I32(0))
    return _shuffle(builder, first, undefined, [0] * llvm_type.count)


def _call(builder, name, return_type, args):
    function_type = ir.FunctionType(return_type, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), args)


def _common_vector(args):
    """Return the vector type of a mix of vectors and scalars, None if they do not fit."""
    vectors = {a for a in args if isinstance(a, Vector)}
    if len(vectors) == 1 and all(isinstance(a, Vector | types.Number) for a in args):
        return vectors.pop()
    return None


def _operands(context, builder, vector, values, value_types):
    """Return the operands as LLVM vectors, scalars cast to the lane type and repeated."""
    return [
        value
        if isinstance(ty, Vector)
        else _splat(builder, _llvm_vector(vector), context.cast(builder, value, ty, vector.dtype))
        for value, ty in zip(values, value_types, strict=True)
    ]


def _lane_function(emit, result=lambda vector: vector):
    """Make a typing function for `intrinsic` from `emit(builder, vector, *operands)`."""

    def typing(args):
        vector = _common_vector(args)
        if vector is None:
            return None

        def codegen(context, builder, sig, values):
            return emit(builder, vector, *_operands(context, builder, vector, values, sig.args))

        return signature(result(vector), *args), codegen

    return typing


# --- arithmetic -----------------------------------------------------------------------------------------------------


def _mask_of(vector):
    return Vector(types.boolean, vector.lanes)


def _operator(op, emit, result=lambda vector: vector):
    typing = _lane_function(emit, result)

    class VectorOperator(AbstractTemplate):
        def generic(self, args, kws):
            typed = typing(args) if len(args) == 2 else None
            return typed and typed[0]

    infer_global(op)(VectorOperator)

    def lower(context, builder, sig, values):
        return typing(sig.args)[1](context, builder, sig, values)

    for operand_types in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(op, *operand_types)(lower)


_operator(operator.add, lambda builder, vector, a, b: builder.fadd(a, b))
_operator(operator.sub, lambda builder, vector, a, b: builder.fsub(a, b))
_operator(operator.mul, lambda builder, vector, a, b: builder.fmul(a, b))
_operator(operator.truediv, lambda builder, vector, a, b: builder.fdiv(a, b))
_operator(operator.lt, lambda builder, vector, a, b: builder.fcmp_ordered("<", a, b), _mask_of)
_operator(operator.ge, lambda builder, vector, a, b: builder.fcmp_ordered(">=", a, b), _mask_of)
_operator(operator.eq, lambda builder, vector, a, b: builder.fcmp_ordered("==", a, b), _mask_of)


@intrinsic
def fma(typingctx, a, b, c):
    """Return a * b + c, rounded once; of vectors or of three scalars of one type."""
    if all(isinstance(t, types.Float) for t in (a, b, c)):
        scalar = max(a, b, c, key=lambda t: t.bitwidth)

        def codegen(context, builder, sig, values):
            operands = [context.cast(builder, v, t, scalar) for v, t in zip(values, sig.args, strict=True)]
            return _call(builder, f"llvm.fma.f{scalar.bitwidth}", operands[0].type, operands)

        return scalar(a, b, c), codegen
    return _lane_function(
        lambda builder, vector, x, y, z: _call(builder, f"llvm.fma.{vector.suffix}", x.type, [x, y, z])
    )((a, b, c))


@intrinsic
def larger(typingctx, a, b):
    """Return a where a > b, else b: where either is NaN, that is b."""
    return _lane_function(lambda builder, vector, x, y: builder.select(builder.fcmp_ordered(">", x, y), x, y))((a, b))


@intrinsic
def smaller(typingctx, a, b):
    """Return a where a < b, else b: where either is NaN, that is b."""
    return _lane_function(lambda builder, vector, x, y: builder.select(builder.fcmp_ordered("<", x, y), x, y))((a, b))


@intrinsic
def select(typingctx, mask, a, b):
    """Return a where the mask is set, else b."""
    vector = _common_vector((a, b))

    def codegen(context, builder, sig, values):
        x, y = _operands(context, builder, vector, values[1:], sig.args[1:])
        return builder.select(values[0], x, y)

    return vector(mask, a, b), codegen


@intrinsic
def absolute(typingctx, a):
    """Return |a|."""
    return _lane_function(lambda builder, vector, x: _call(builder, f"llvm.fabs.{vector.suffix}", x.type, [x]))((a,))


@intrinsic
def splat(typingctx, array, value):
    """Return a vector for `array` with `value` in every lane."""
    vector = vector_of(array)

    def codegen(context, builder, sig, values):
        return _operands(context, builder, vector, values[1:], sig.args[1:])[0]

    return vector(array, value), codegen


@intrinsic
def splat_wide(typingctx, value):
    """Return 8 lanes of float64 with `value` in each."""
    vector = Vector(types.float64, VECTOR_BITS // 64)

    def codegen(context, builder, sig, values):
        return _operands(context, builder, vector, values, sig.args)[0]

    return vector(value), codegen


@intrinsic
def choose(typingctx, array, for_single, for_double):
    """Return, as float64, the constant for the type that `array` is computed in."""
    index = 1 if vector_of(array).dtype == types.float32 else 2

    def codegen(context, builder, sig, values):
        return context.cast(builder, values[index], sig.args[index], types.float64)

    return types.float64(array, for_single, for_double), codegen


@intrinsic
def rounded(typingctx, array, value):
    """Return a float64 rounded to the type that `array` is computed in."""
    dtype = vector_of(array).dtype

    def codegen(context, builder, sig, values):
        narrow = context.cast(builder, values[1], types.float64, dtype)
        return context.cast(builder, narrow, dtype, types.float64)

    return types.float64(array, types.float64), codegen


@intrinsic
def lanes(typingctx, array):
    """Return the number of lanes of the vectors of `array`."""
    count = vector_of(array).lanes
    return types.intp(array), lambda context, builder, sig, values: ir.IntType(64)(count)


# --- the bits of a float --------------------------------------------------------------------------------------------


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
            bits = _bits_type(value)

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
def shift_exponent(typingctx, value, steps):
    """Return value * 2**n, where n is the integer in the low bits of the mantissa of `steps`.

    The integer is added to the exponent field: `value` and the result must be normal numbers.
    """

    def emit(builder, vector, x, t):
        bits = _bits_type(vector)
        mantissa = ir.Constant(bits, [MANTISSA_BITS[vector.dtype.bitwidth]] * vector.lanes)
        exponent = builder.shl(builder.bitcast(t, bits), mantissa)
        return builder.bitcast(builder.add(builder.bitcast(x, bits), exponent), x.type)

    return _lane_function(emit)((value, steps))


@intrinsic
def larger_bits(typingctx, a, b):
    """Return the one whose bits, read as an unsigned integer, are larger.

    Among positive numbers that is the larger number, and a NaN of either sign beats them all.
    """

    def emit(builder, vector, x, y):
        bits = _bits_type(vector)
        x, y = builder.bitcast(x, bits), builder.bitcast(y, bits)
        return builder.bitcast(builder.select(builder.icmp_unsigned(">", x, y), x, y), _llvm_vector(vector))

    return _lane_function(emit)((a, b))


# --- across the lanes -----------------------------------------------------------------------------------------------


@intrinsic
def largest_bits(typingctx, a):
    """Return the lane whose bits, read as an unsigned integer, are the largest."""

    def emit(builder, vector, x):
        bits = _bits_type(vector)
        name = f"llvm.vector.reduce.umax.v{vector.lanes}i{vector.dtype.bitwidth}"
        best = _call(builder, name, bits.element, [builder.bitcast(x, bits)])
        return builder.bitcast(best, _llvm_vector(vector).element)

    return _lane_function(emit, lambda vector: vector.dtype)((a,))


@intrinsic
def largest(typingctx, a):
    """Return the largest lane; NaN lanes are passed over unless all are NaN."""
    return _lane_function(
        lambda builder, vector, x: _call(builder, f"llvm.vector.reduce.fmax.{vector.suffix}", x.type.element, [x]),
        lambda vector: vector.dtype,
    )((a,))


def _two_sum(builder, a, b):
    """Return a + b and what its rounding lost (Knuth's two-sum)."""
    s = builder.fadd(a, b)
    back = builder.fsub(s, a)
    return s, builder.fadd(builder.fsub(a, builder.fsub(s, back)), builder.fsub(b, back))


def _halves(builder, x):
    half = x.type.count // 2
    return _shuffle(builder, x, x, range(half)), _shuffle(builder, x, x, range(half, 2 * half))


@intrinsic
def sum_lanes(typingctx, a, b):
    """Return the sum of all lanes of a and of b, small beside them, as two float64, the second the first's error.

    float32 lanes are added in float64, which leaves no error worth keeping: then the second is 0.
    """
    pair = types.UniTuple(types.float64, 2)
    vector = _common_vector((a, b))

    def codegen(context, builder, sig, values):
        x, y = _operands(context, builder, vector, values, sig.args)
        lost = None
        if vector.dtype.bitwidth == 32:
            wide = ir.VectorType(ir.DoubleType(), vector.lanes)
            x = builder.fadd(builder.fpext(x, wide), builder.fpext(y, wide))
        else:
            lost = y
        while x.type.count > 1:
            if lost is None:
                x = builder.fadd(*_halves(builder, x))
            else:
                x, error = _two_sum(builder, *_halves(builder, x))
                lost = builder.fadd(builder.fadd(*_halves(builder, lost)), error)
        total = builder.extract_element(x, I32(0))
        rest = ir.DoubleType()(0.0) if lost is None else builder.extract_element(lost, I32(0))
        return context.make_tuple(builder, pair, [total, rest])

    return pair(a, b), codegen


@intrinsic
def count_set(typingctx, mask):
    """Return the number of lanes of a mask that are set."""

    def codegen(context, builder, sig, values):
        bits = builder.bitcast(values[0], ir.IntType(mask.lanes))
        return builder.zext(builder.ctpop(bits), ir.IntType(64))

    return types.intp(mask), codegen


def _keep(a, count, first_kept):
    def codegen(context, builder, sig, values):
        lane = ir.VectorType(I32, a.lanes)
        numbers = ir.Constant(lane, list(range(a.lanes)))
        wanted = builder.trunc(values[1], I32)
        if first_kept:
            mask = builder.icmp_signed("<", numbers, _splat(builder, lane, wanted))
        else:
            first = builder.sub(I32(a.lanes), wanted)
            mask = builder.icmp_signed(">=", numbers, _splat(builder, lane, first))
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


# --- memory ---------------------------------------------------------------------------------------------------------


def _pointer(context, builder, array, value, index, memory_type):
    data = context.make_array(array)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [index]), memory_type.as_pointer())


def _memory_type(array, vector):
    """Return how a vector lies in memory: halves as integers, other types as they are."""
    if array.dtype.bitwidth == 16:
        return ir.VectorType(ir.IntType(16), vector.lanes)
    return _llvm_vector(Vector(array.dtype, vector.lanes))


def _from_memory(builder, array, vector, raw):
    single = Vector(types.float32, vector.lanes)
    if array.dtype == types.uint16:
        raw = builder.bitcast(raw, ir.VectorType(ir.HalfType(), vector.lanes))
    if array.dtype == types.int16:
        bits = _bits_type(single)
        shifted = builder.shl(builder.zext(raw, bits), ir.Constant(bits, [16] * vector.lanes))
        raw = builder.bitcast(shifted, _llvm_vector(single))
    return raw if raw.type == _llvm_vector(vector) else builder.fpext(raw, _llvm_vector(vector))


def _to_memory(builder, array, vector, value):
    single = Vector(types.float32, vector.lanes)
    if array.dtype != types.float64 and vector.dtype == types.float64:
        value = builder.fptrunc(value, _llvm_vector(single))
    if array.dtype == types.uint16:
        half = builder.fptrunc(value, ir.VectorType(ir.HalfType(), vector.lanes))
        return builder.bitcast(half, _memory_type(array, vector))
    return _round_to_bfloat16(builder, array, single, value) if array.dtype == types.int16 else value


def _round_to_bfloat16(builder, array, vector, value):
    """Round to nearest, ties to even, by adding half a unit below the upper 16 bits; a NaN stays one."""
    bits = _bits_type(vector)

    def constant(number):
        return ir.Constant(bits, [number] * vector.lanes)

    raw = builder.bitcast(value, bits)
    odd = builder.and_(builder.lshr(raw, constant(16)), constant(1))
    rounded = builder.add(raw, builder.add(odd, constant(0x7FFF)))
    rounded = builder.select(builder.fcmp_unordered("uno", value, value), constant(0x7FC00000), rounded)
    return builder.trunc(builder.lshr(rounded, constant(16)), _memory_type(array, vector))


def _first_lanes(builder, count, width):
    lane = ir.VectorType(ir.IntType(64), width)
    return builder.icmp_signed("<", ir.Constant(lane, list(range(width))), _splat(builder, lane, count))


def _alignment(array):
    return array.dtype.bitwidth // 8


def _load(vector, array):
    def codegen(context, builder, sig, values):
        pointer = _pointer(context, builder, array, *values, _memory_type(array, vector))
        return _from_memory(builder, array, vector, builder.load(pointer, align=_alignment(array)))

    return vector(array, types.intp), codegen


@intrinsic
def load(typingctx, array, index):
    """Return the vector that begins at array[index]."""
    return _load(vector_of(array), array)


@intrinsic
def load_wide(typingctx, array, index):
    """Return what `load` does, as 8 lanes of float64."""
    return _load(Vector(types.float64, VECTOR_BITS // 64), array)


@intrinsic
def store(typingctx, array, index, value):
    """Write a vector to array[index] and behind."""

    def codegen(context, builder, sig, values):
        pointer = _pointer(context, builder, array, *values[:2], _memory_type(array, value))
        builder.store(_to_memory(builder, array, value, values[2]), pointer, align=_alignment(array))
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


def _load_first(vector, array):
    def codegen(context, builder, sig, values):
        memory = _memory_type(array, vector)
        pointer = _pointer(context, builder, array, *values[:2], memory)
        mask = _first_lanes(builder, values[2], vector.lanes)
        fill = {types.uint16: 0xFC00, types.int16: 0xFF80}.get(array.dtype, float("-inf"))
        args = [pointer, I32(_alignment(array)), mask, ir.Constant(memory, [fill] * vector.lanes)]
        name = f"llvm.masked.load.v{vector.lanes}{_element_suffix(array)}.p0"
        return _from_memory(builder, array, vector, _call(builder, name, memory, args))

    return vector(array, types.intp, types.intp), codegen


@intrinsic
def load_first(typingctx, array, index, count):
    """Return the vector that begins at array[index], reading `count` lanes only: the others are -inf."""
    return _load_first(vector_of(array), array)


@intrinsic
def load_first_wide(typingctx, array, index, count):
    """Return what `load_first` does, as 8 lanes of float64."""
    return _load_first(Vector(types.float64, VECTOR_BITS // 64), array)


def _store_first(array, vector):
    def codegen(context, builder, sig, values):
        pointer = _pointer(context, builder, array, *values[:2], _memory_type(array, vector))
        mask = _first_lanes(builder, values[3], vector.lanes)
        args = [_to_memory(builder, array, vector, values[2]), pointer, I32(_alignment(array)), mask]
        _call(builder, f"llvm.masked.store.v{vector.lanes}{_element_suffix(array)}.p0", ir.VoidType(), args)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), codegen


@intrinsic
def store_first(typingctx, array, index, value, count):
    """Write the first `count` lanes of a vector to array[index] and behind."""
    return _store_first(array, value)


def _element_suffix(array):
    return "i16" if array.dtype.bitwidth == 16 else f"f{array.dtype.bitwidth}"


# --- blocks of rows -------------------------------------------------------------------------------------------------


def _transpose(builder, rows):
    """Transpose as many vectors as they have lanes: exchange the halves of pairs of rows, quarters, eighths ..."""
    rows, width = list(rows), len(rows)
    step = 1
    while step < width:
        low = [lane if not lane & step else width + lane - step for lane in range(width)]
        high = [lane + step if not lane & step else width + lane for lane in range(width)]
        for i in range(width):
            if not i & step:
                a, b = rows[i], rows[i + step]
                rows[i], rows[i + step] = _shuffle(builder, a, b, low), _shuffle(builder, a, b, high)
        step *= 2
    return rows


def _row_starts(builder, width, start, step, rows):
    """Return where each of `width` rows begins; if there are fewer, the last one stands for those missing."""
    i64 = ir.IntType(64)
    last = builder.sub(rows, i64(1))
    starts = []
    for r in range(width):
        row = builder.select(builder.icmp_signed("<", i64(r), last), i64(r), last)
        starts.append(builder.add(start, builder.mul(row, step)))
    return starts


@intrinsic
def load_block(typingctx, x, start, step, rows, count, tile, at):
    """Write a vector's width w of rows of x as columns into the tile: element j of row r goes to tile[at + w * j + r].

    Row r begins at x[start + r * step]. `count` elements of each of `rows` rows are read, w at most; those missing
    are -inf, and rows missing repeat the last.
    """
    vector = vector_of(x)

    def codegen(context, builder, sig, values):
        x_value, start, step, rows, count, tile_value, at = values
        _, load_row = _load_first(vector, x)
        loaded = [
            load_row(context, builder, None, (x_value, s, count))
            for s in _row_starts(builder, vector.lanes, start, step, rows)
        ]
        for j, column in enumerate(_transpose(builder, loaded)):
            index = builder.add(at, ir.IntType(64)(vector.lanes * j))
            pointer = _pointer(context, builder, tile, tile_value, index, column.type)
            builder.store(column, pointer, align=_alignment(tile))
        return context.get_dummy_value()

    return types.void(x, *[types.intp] * 4, tile, types.intp), codegen


@intrinsic
def store_block(typingctx, tile, at, out, start, step, rows, count):
    """Write columns of the tile as rows of `out`: the reverse of `load_block`."""
    vector = vector_of(out)

    def codegen(context, builder, sig, values):
        tile_value, at, out_value, start, step, rows, count = values
        columns = []
        for j in range(vector.lanes):
            index = builder.add(at, ir.IntType(64)(vector.lanes * j))
            pointer = _pointer(context, builder, tile, tile_value, index, _llvm_vector(vector))
            columns.append(builder.load(pointer, align=_alignment(tile)))
        _, store_row = _store_first(out, vector)
        starts = _row_starts(builder, vector.lanes, start, step, rows)
        for s, row in zip(starts, _transpose(builder, columns), strict=True):
            store_row(context, builder, None, (out_value, s, row, count))
        return context.get_dummy_value()

    return types.void(tile, types.intp, out, *[types.intp] * 4), codegen
