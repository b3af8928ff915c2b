"""Stores past the caches: whole vectors, which need not be read before they are written."""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastsoftmax.simd.storage import address, memory_type, to_memory
from fastsoftmax.simd.vector import I32, IS_X86, call


@intrinsic
def store_past_caches(typingctx, array, index, value):
    """Write a vector to array[index] and behind, a place as `to_aligned` finds them, past the caches."""

    def codegen(context, builder, sig, values):
        memory = memory_type(array, value)
        pointer = address(context, builder, array, *values[:2], memory)
        size = memory.count * array.dtype.bitwidth // 8
        stored = builder.store(to_memory(builder, array, value, values[2]), pointer, align=size)
        stored.set_metadata("nontemporal", builder.module.add_metadata([I32(1)]))
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def wait_for_stores(typingctx):
    """Let what was written past the caches be seen by other threads before what is written from now on."""

    def codegen(context, builder, sig, values):
        if IS_X86:
            call(builder, "llvm.x86.sse.sfence", ir.VoidType(), [])
        else:
            builder.fence("release")
        return context.get_dummy_value()

    return types.void(), codegen
