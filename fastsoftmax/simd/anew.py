"""What is to be computed where it is wanted, and not beforehand.

LLVM computes what is the same in all rounds of a loop before the loop, all multiples of a step, say, if only some
rounds may want them. That took 4 % of a call on a few numbers, which needs none of them.
"""

from llvmlite import ir
from numba.extending import intrinsic


@intrinsic
def anew(typingctx, number):
    """Return an integer of which LLVM does not know that it is the same in each round of a loop."""

    def codegen(context, builder, sig, values):
        kind = values[0].type
        return builder.asm(ir.FunctionType(kind, [kind]), "", "=r,0", [values[0]], side_effect=True)

    return number(number), codegen
