"""The careful way as kernels of its own, which others call for the rows that they cannot do.

It is long, and seldom taken: in each kernel that may take it, it would be compiled once more, which takes as long as
half of the rest. So they know it by an address, and it is compiled when a row first needs it (`jit.Kernel`).
"""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastsoftmax.elements import Elements
from fastsoftmax.jit import kernel
from fastsoftmax.kernels.careful import careful_log_softmax, careful_logsumexp, careful_softmax, logsumexp_near_zero
from fastsoftmax.simd import store_one

PARAMETERS = ("in", "int", "int", "out", "int", "real")
NEAR_ZERO = 8  # bytes behind the address of the careful way's address, where there is another


@kernel(*PARAMETERS)
def careful_softmax_row(x, start, n, out, to, temperature):
    """Write softmax of n elements from x[start] on to out[to] and behind, which may be the same."""
    careful_softmax(x, start, n, out, to, temperature)


@kernel(*PARAMETERS)
def careful_log_softmax_row(x, start, n, out, to, temperature):
    """Write log_softmax of n elements, as above."""
    careful_log_softmax(x, start, n, out, to, temperature)


@kernel(*PARAMETERS)
def careful_logsumexp_row(x, start, n, out, to, temperature):
    """Write logsumexp of n elements to out[to]; the temperature is 1."""
    store_one(out, to, careful_logsumexp(x, start, n))


@kernel(*PARAMETERS)
def logsumexp_near_zero_row(x, start, n, out, to, temperature):
    """Write logsumexp of n elements, which is near 0, to out[to]; the temperature is 1."""
    store_one(out, to, logsumexp_near_zero(x, start, n))


SOFTMAX, LOG_SOFTMAX, LOGSUMEXP = (careful_softmax_row,), (careful_log_softmax_row,), (careful_logsumexp_row,)
LOGSUMEXP_OF_ROWS = careful_logsumexp_row, logsumexp_near_zero_row  #: the second at NEAR_ZERO


@intrinsic
def carefully(typingctx, way, x, start, n, out, to, temperature):
    """Do a row as a kernel does of which the address is at the address `way`; return 1 if that is 0 yet, else 0.

    x and `out` are pointers to the same type.
    """
    number, element = ir.IntType(64), x.dtype
    parameters = [
        Elements(element, readonly=True), types.intp, types.intp, Elements(element, readonly=False), types.intp,
        types.float64,
    ]  # fmt: skip

    def codegen(context, builder, sig, values):
        way, x_value, start, n, out_value, to, temperature = values

        def elements(kind, pointer):
            made = context.make_array(kind)(context, builder)
            made.data = pointer
            return made._getvalue()

        kernel = builder.load(builder.inttoptr(way, number.as_pointer()))
        is_missing = builder.icmp_unsigned("==", kernel, number(0))
        with builder.if_then(builder.not_(is_missing), likely=True):
            convention = context.call_conv
            callee = builder.inttoptr(kernel, convention.get_function_type(types.none, parameters).as_pointer())
            arguments = [
                elements(parameters[0], x_value),
                start,
                n,
                elements(parameters[3], out_value),
                to,
                temperature,
            ]
            convention.call_function(builder, callee, types.none, parameters, arguments)  # it cannot fail
        return builder.zext(is_missing, number)

    pointer = types.CPointer(element)
    return types.intp(types.intp, pointer, types.intp, types.intp, pointer, types.intp, types.float64), codegen
