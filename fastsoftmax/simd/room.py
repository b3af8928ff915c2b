"""Arrays that a kernel makes for itself, of float32 or float64, uninitialised.

They are made as `numpy.empty` does it in Numba, which would be compiled anew for each type that is asked for.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import impl_ret_new_ref
from numba.extending import intrinsic
from numba.np.arrayobj import _empty_nd_impl

from fastsoftmax.simd.vector import vector_of


def _empty(dtype):
    """Return the type of a 1-d array and the code that makes one of as many elements as the last argument tells.

    Where these are none, neither is any memory.
    """
    array = types.Array(dtype, 1, "C")

    def codegen(context, builder, sig, values):
        nothing = ir.Constant(context.get_value_type(array), None)
        made = cgutils.alloca_once_value(builder, nothing)
        with builder.if_then(builder.icmp_signed(">", values[-1], values[-1].type(0))):
            builder.store(_empty_nd_impl(context, builder, array, [values[-1]])._getvalue(), made)
        return impl_ret_new_ref(context, builder, array, builder.load(made))

    return array, codegen


@intrinsic
def empty(typingctx, array, n):
    """Return an array of n numbers of the type that `array` is computed in."""
    made, codegen = _empty(vector_of(array).dtype)
    return made(array, types.intp), codegen


@intrinsic
def empty_like(typingctx, array, n):
    """Return an array of n elements as those of `array`."""
    made, codegen = _empty(array.dtype)
    return made(array, types.intp), codegen


@intrinsic
def empty_wide(typingctx, n):
    """Return an array of n float64."""
    made, codegen = _empty(types.float64)
    return made(types.intp), codegen


@intrinsic
def is_native(typingctx, array):
    """Tell whether the elements of an array are stored in the type that they are computed in."""
    native = array.dtype == vector_of(array).dtype
    return types.boolean(array), lambda context, builder, sig, values: ir.IntType(1)(native)


@intrinsic
def terms_in(typingctx, room, out):
    """Return where terms stand, and 1 if that is `out` itself, 0 if it is the room: so where that is not empty."""
    pointer = types.CPointer(room.dtype)
    result = types.Tuple((pointer, types.intp))

    def codegen(context, builder, sig, values):
        made = context.make_array(room)(context, builder, values[0])
        in_out = builder.icmp_signed("==", made.nitems, made.nitems.type(0))
        place = builder.select(in_out, builder.bitcast(values[1], made.data.type), made.data)
        return context.make_tuple(builder, result, [place, builder.zext(in_out, made.nitems.type)])

    return result(room, out), codegen
