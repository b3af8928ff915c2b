"""The type of vectors, and the LLVM that every module here emits."""

import platform

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.core.typing.templates import signature
from numba.extending import models, register_model

# The processor that Numba compiles for, and what it can do.
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
_, CPU_NAME, _ = cpu_target.target_context.codegen().magic_tuple()
FEATURES = cpu_target.target_context.codegen()._tm_features
HAS_AVX512 = "+avx512f" in FEATURES
READS_FLOAT16 = not IS_X86 or "+f16c" in FEATURES  # without, LLVM calls functions that are not there
VECTOR_BITS = 512 if HAS_AVX512 else 256
WIDE = VECTOR_BITS // 64  # lanes of a vector of float64
GROUP = 4  # vectors that are worked on together
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


def group_of(array):
    """Return the type of the groups that `load_group` gives for this array type."""
    vector = vector_of(array)
    return Vector(vector.dtype, GROUP * vector.lanes)


# --- helpers that emit LLVM -------------------------------------------------------------------------------------------


def llvm_vector(vector):
    """Return the LLVM type of a vector of floats."""
    return ir.VectorType(ir.FloatType() if vector.dtype.bitwidth == 32 else ir.DoubleType(), vector.lanes)


def bits_type(vector):
    """Return the LLVM type of the bits of a vector: integers as wide as its lanes."""
    return ir.VectorType(ir.IntType(vector.dtype.bitwidth), vector.lanes)


def shuffle(builder, a, b, lanes):
    """Return the lanes with these numbers, those of b counted on from those of a."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def halves(builder, x):
    """Return the lower and the upper half of the lanes."""
    half = x.type.count // 2
    return shuffle(builder, x, x, range(half)), shuffle(builder, x, x, range(half, 2 * half))


def joined(builder, vectors):
    """Return vectors behind one another as one."""
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [shuffle(builder, a, b, range(2 * a.type.count)) for a, b in pairs]
    return vectors[0]


def repeat(builder, llvm_type, scalar):
    """Return a vector with the scalar in every lane."""
    undefined = ir.Constant(llvm_type, ir.Undefined)
    first = builder.insert_element(undefined, scalar, I32(0))
    return shuffle(builder, first, undefined, [0] * llvm_type.count)


def call(builder, name, return_type, args):
    """Call an LLVM intrinsic."""
    function_type = ir.FunctionType(return_type, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), args)


def common_vector(args):
    """Return the vector type of a mix of vectors and scalars, None if they do not fit."""
    vectors = {a for a in args if isinstance(a, Vector)}
    if len(vectors) == 1 and all(isinstance(a, Vector | types.Number) for a in args):
        return vectors.pop()
    return None


def operands(context, builder, vector, values, value_types):
    """Return the operands as LLVM vectors, scalars cast to the lane type and repeated."""
    return [
        value
        if isinstance(ty, Vector)
        else repeat(builder, llvm_vector(vector), context.cast(builder, value, ty, vector.dtype))
        for value, ty in zip(values, value_types, strict=True)
    ]


def lane_function(emit, result=lambda vector: vector):
    """Make a typing function for `intrinsic` from `emit(builder, vector, *operands)`."""

    def typing(args):
        vector = common_vector(args)
        if vector is None:
            return None

        def codegen(context, builder, sig, values):
            return emit(builder, vector, *operands(context, builder, vector, values, sig.args))

        return signature(result(vector), *args), codegen

    return typing
