"""Lane by lane: the operators, and what has no operator."""

import operator

from numba.core import types
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin

from fastsoftmax.simd.vector import Vector, call, common_vector, lane_function, llvm_vector, operands, vector_of


def _mask_of(vector):
    return Vector(types.boolean, vector.lanes)


def _operator(op, emit, result=lambda vector: vector):
    typing = lane_function(emit, result)

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
            return call(builder, f"llvm.fma.f{scalar.bitwidth}", operands[0].type, operands)

        return scalar(a, b, c), codegen
    return lane_function(
        lambda builder, vector, x, y, z: call(builder, f"llvm.fma.{vector.suffix}", x.type, [x, y, z])
    )((a, b, c))


@intrinsic
def larger(typingctx, a, b):
    """Return a where a > b, else b: where either is NaN, that is b."""
    return lane_function(lambda builder, vector, x, y: builder.select(builder.fcmp_ordered(">", x, y), x, y))((a, b))


@intrinsic
def smaller(typingctx, a, b):
    """Return a where a < b, else b: where either is NaN, that is b."""
    return lane_function(lambda builder, vector, x, y: builder.select(builder.fcmp_ordered("<", x, y), x, y))((a, b))


@intrinsic
def select(typingctx, mask, a, b):
    """Return a where the mask is set, else b."""
    vector = common_vector((a, b))

    def codegen(context, builder, sig, values):
        x, y = operands(context, builder, vector, values[1:], sig.args[1:])
        return builder.select(values[0], x, y)

    return vector(mask, a, b), codegen


@intrinsic
def absolute(typingctx, a):
    """Return |a|."""
    return lane_function(lambda builder, vector, x: call(builder, f"llvm.fabs.{vector.suffix}", x.type, [x]))((a,))


@intrinsic
def widened(typingctx, a):
    """Return the lanes as float64."""
    wide = Vector(types.float64, a.lanes)

    def codegen(context, builder, sig, values):
        return values[0] if a == wide else builder.fpext(values[0], llvm_vector(wide))

    return wide(a), codegen


@intrinsic
def narrowed(typingctx, array, a):
    """Return lanes of float64, as many as a vector of `array` has, rounded to the type that it is computed in."""
    vector = vector_of(array)

    def codegen(context, builder, sig, values):
        return values[1] if a == vector else builder.fptrunc(values[1], llvm_vector(vector))

    return vector(array, a), codegen
