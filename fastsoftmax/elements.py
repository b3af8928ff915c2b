"""The arrays that kernels are called with, as a Numba type that costs a short call less.

Numba asks an object whether it is an array of the right type, and makes a record that counts references to it. Whoever
calls a kernel knows, and holds its arrays: all that is read of them is where their elements lie, and how many.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel.models import ArrayModel
from numba.extending import NativeValue, register_model, unbox
from numba.np.arrayobj import make_array

_POINTER, _INTP = ir.IntType(8).as_pointer(), ir.IntType(64)
# The C structure of a NumPy array behind what every Python object begins with: where the elements lie, the number of
# dimensions, and where these stand.
_HEAD = object.__basicsize__
_FIELDS = ir.LiteralStructType([_POINTER, ir.IntType(32), _INTP.as_pointer()])


class Elements(types.Array):
    """An array whose elements lie one behind another, taken as one of a single dimension."""

    def __init__(self, element: Any, readonly: bool) -> None:
        kind = "in" if readonly else "out"
        super().__init__(element, 1, "C", readonly=readonly, name=f"Elements({element}, {kind})")


register_model(Elements)(ArrayModel)


def _product(builder: Any, numbers: Any, length: Any) -> Any:
    """Emit what multiplies numbers that stand one behind another."""
    product = cgutils.alloca_once_value(builder, _INTP(1))
    with cgutils.for_range(builder, length) as loop:
        factor = builder.load(builder.gep(numbers, [loop.index]))
        builder.store(builder.mul(builder.load(product), factor), product)
    return builder.load(product)


@unbox(Elements)  # type: ignore[untyped-decorator]
def _unbox(elements: Any, array: Any, c: Any) -> NativeValue:
    """Emit what reads the structure of an array object."""
    builder, index = c.builder, ir.IntType(32)
    fields = builder.bitcast(builder.gep(array, [_INTP(_HEAD)]), _FIELDS.as_pointer())
    data, dimensions, shape = (builder.load(builder.gep(fields, [index(0), index(k)])) for k in range(3))
    count, itemsize = _product(builder, shape, dimensions), _INTP(elements.dtype.bitwidth // 8)
    native = make_array(elements)(c.context, builder)
    native.data = builder.bitcast(data, native.data.type)
    native.nitems, native.itemsize = count, itemsize
    native.shape, native.strides = (cgutils.pack_array(builder, [number], _INTP) for number in (count, itemsize))
    native.meminfo, native.parent = native.meminfo.type(None), native.parent.type(None)
    return NativeValue(native._getvalue())
