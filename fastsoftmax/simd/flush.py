"""Results that are too small for a normal number become 0, where a kernel says so and the processor wants it.

Intel's take a hundred times as long for such a result. Others do not, or have no switch that is known here: there small
results come as they are.
"""

import platform

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastsoftmax.simd.vector import CPU_NAME

_INT = ir.IntType(32)
_FLUSHES = 1 << 15  # in the register that the x86 has for this
#: Whether it is done here.
FLUSHES = platform.machine().lower() in ("x86_64", "amd64") and not CPU_NAME.startswith("znver")


def _call(builder, name, place):
    pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
    function_type = ir.FunctionType(ir.VoidType(), [pointer.type])
    builder.call(cgutils.get_or_insert_function(builder.module, function_type, f"llvm.x86.sse.{name}"), [pointer])


@intrinsic
def flush_small(typingctx):
    """Switch it on, and return how it was; `restore` wants that."""

    def codegen(context, builder, sig, values):
        if not FLUSHES:
            return ir.Constant(_INT, 0)
        place = cgutils.alloca_once(builder, _INT)
        _call(builder, "stmxcsr", place)
        before = builder.load(place)
        builder.store(builder.or_(before, ir.Constant(_INT, _FLUSHES)), place)
        _call(builder, "ldmxcsr", place)
        return before

    return types.uint32(), codegen


@intrinsic
def restore(typingctx, before):
    """Switch back to how it was."""

    def codegen(context, builder, sig, values):
        if FLUSHES:
            place = cgutils.alloca_once(builder, _INT)
            builder.store(values[0], place)
            _call(builder, "ldmxcsr", place)
        return context.get_dummy_value()

    return types.void(types.uint32), codegen
