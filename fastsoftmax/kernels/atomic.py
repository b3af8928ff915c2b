"""What threads need that work side by side without Python: numbers all of them change, sleep, calls by address.

A number is an int64 at an address. Each of these operations is seen by all threads in one order.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastsoftmax.simd.vector import IS_X86, call

_INT = ir.IntType(64)
_ORDER = "seq_cst"
_PART = ir.FunctionType(_INT, [_INT] * 4)

#: Wait on the semaphore at an address until it is not 0, and take 1 from it; add 1 to it. Both return 0, or -1.
sem_wait = types.ExternalFunction("sem_wait", types.int32(types.intp))
sem_post = types.ExternalFunction("sem_post", types.int32(types.intp))
#: Let other threads run that want to.
sched_yield = types.ExternalFunction("sched_yield", types.int32())


def _number_at(builder, address):
    return builder.inttoptr(address, _INT.as_pointer())


@intrinsic
def read(typingctx, address):
    """Return the number at an address."""

    def codegen(context, builder, sig, values):
        return builder.load_atomic(_number_at(builder, values[0]), _ORDER, 8)

    return types.intp(types.intp), codegen


@intrinsic
def write(typingctx, address, value):
    """Write the number at an address."""

    def codegen(context, builder, sig, values):
        builder.store_atomic(values[1], _number_at(builder, values[0]), _ORDER, 8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


@intrinsic
def add(typingctx, address, value):
    """Add to the number at an address, and return what it was."""

    def codegen(context, builder, sig, values):
        return builder.atomic_rmw("add", _number_at(builder, values[0]), values[1], _ORDER)

    return types.intp(types.intp, types.intp), codegen


@intrinsic
def exchange(typingctx, address, value):
    """Write the number at an address, and return what it was."""

    def codegen(context, builder, sig, values):
        return builder.atomic_rmw("xchg", _number_at(builder, values[0]), values[1], _ORDER)

    return types.intp(types.intp, types.intp), codegen


@intrinsic
def pause(typingctx):
    """Tell the processor that the thread waits in a loop."""

    def codegen(context, builder, sig, values):
        if IS_X86:
            call(builder, "llvm.x86.sse2.pause", ir.VoidType(), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def on_stack(typingctx, before, behind):
    """Return the address of a copy of two tuples, which lives as long as the function that calls this."""

    def codegen(context, builder, sig, values):
        pair = context.make_tuple(builder, types.Tuple(sig.args), values)
        return builder.ptrtoint(cgutils.alloca_once_value(builder, pair), _INT)

    return types.intp(before, behind), codegen


FAILURE = 2**32  # what `call_part` returns, or more, if a kernel failed: it never leaves so much undone


@intrinsic
def caller_of(typingctx, before, behind, left):
    """Return the address of a function that calls kernels with such arguments; `call_part` calls that.

    It calls kernel(*before, first, last, *behind), the tuples being where `on_stack` has put them. `left` is a number
    like those that the kernel returns, None if it returns nothing.
    """
    pair = types.Tuple((before, behind))
    parameters = [*before.types, types.intp, types.intp, *behind.types]

    def codegen(context, builder, sig, values):
        function = ir.Function(builder.module, _PART, builder.module.get_unique_name("call_part"))
        function.linkage = "internal"
        inner = ir.IRBuilder(function.append_basic_block())
        place, kernel, first, last = function.args
        both = inner.load(inner.inttoptr(place, context.get_value_type(pair).as_pointer()))
        values_before, values_behind = (cgutils.unpack_tuple(inner, inner.extract_value(both, i)) for i in range(2))
        convention = context.call_conv
        callee = inner.inttoptr(kernel, convention.get_function_type(left, parameters).as_pointer())
        arguments = [*values_before, first, last, *values_behind]
        status, undone = convention.call_function(inner, callee, left, parameters, arguments)
        undone = _INT(0) if left == types.none else undone
        inner.ret(inner.select(status.is_error, _INT(FAILURE), undone))
        return builder.ptrtoint(function, _INT)

    return types.intp(before, behind, left), codegen


@intrinsic
def call_part(typingctx, caller, place, kernel, first, last):
    """Call a kernel through the function that `caller_of` returned; return what it left undone, or `FAILURE`."""

    def codegen(context, builder, sig, values):
        return builder.call(builder.inttoptr(values[0], _PART.as_pointer()), values[1:])

    return types.intp(*[types.intp] * 5), codegen
