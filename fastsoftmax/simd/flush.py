"""Results that are too small for a normal number become 0, where a kernel says so and the processor wants it.

Intel's take a hundred times as long for such a result. AMD's take some cycles, but none where it is an fma's; others
have no switch that is known here: there small results come as they are.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastsoftmax.simd.vector import CPU_NAME, IS_X86, call

_INT = ir.IntType(32)
_FLUSHES = 1 << 15  # in the register that the x86 has for this
#: Whether it is done here.
FLUSHES = IS_X86 and not CPU_NAME.startswith("znver")


def _call(builder, name, place):
    call(builder, f"llvm.x86.sse.{name}", ir.VoidType(), [builder.bitcast(place, ir.IntType(8).as_pointer())])


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
