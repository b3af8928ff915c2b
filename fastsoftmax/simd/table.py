"""Tables of as many entries as a vector has lanes, each looked up by the low bits of a lane."""

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from fastsoftmax.simd.vector import I32, bits_type, call, halves, joined, llvm_vector, shuffle


def lookup_table(single, double):
    """Return a function of a vector: the entry whose number stands in the low bits of each lane.

    `single` are the 16 entries for float32, `double` the 8 for float64, as bits.
    """
    entries_for = {32: single, 64: double}

    @intrinsic
    def lookup(typingctx, numbers):
        entries = entries_for[numbers.dtype.bitwidth]
        count = len(entries)

        def codegen(context, builder, sig, values):
            bits = bits_type(numbers)
            raw = builder.bitcast(values[0], bits)
            parts = [shuffle(builder, raw, raw, range(k, k + count)) for k in range(0, numbers.lanes, count)]
            features = context.codegen()._tm_features
            found = [_look_up(builder, entries, part, features) for part in parts]
            return builder.bitcast(joined(builder, found), llvm_vector(numbers))

        return numbers(numbers), codegen

    return lookup


def _look_up(builder, entries, numbers, features):
    """Return the entries that a vector of as many lanes as there are entries asks for."""
    kind, count = numbers.type, len(entries)
    table = ir.Constant(kind, list(entries))
    if "+avx512f" in features:
        name = "llvm.x86.avx512.permvar.si.512" if kind.element.width == 32 else "llvm.x86.avx512.permvar.di.512"
        return call(builder, name, kind, [table, numbers])
    if "+avx2" in features and kind.element.width == 32:
        half = ir.VectorType(kind.element, 8)
        is_upper = builder.icmp_signed(
            "!=", builder.and_(numbers, ir.Constant(kind, [8] * 16)), ir.Constant(kind, [0] * 16)
        )
        found = []
        for chosen in (entries[:8], entries[8:]):
            low, high = halves(builder, numbers)
            table = ir.Constant(half, list(chosen))
            found.append(
                joined(builder, [call(builder, "llvm.x86.avx2.permd", half, [table, part]) for part in (low, high)])
            )
        return builder.select(is_upper, found[1], found[0])
    memory = cgutils.global_constant(builder, "entries", ir.Constant(ir.ArrayType(kind.element, count), list(entries)))
    wanted = builder.and_(numbers, ir.Constant(kind, [count - 1] * count))
    result = ir.Constant(kind, ir.Undefined)
    for lane in range(count):
        place = builder.gep(memory, [I32(0), builder.extract_element(wanted, I32(lane))])
        result = builder.insert_element(result, builder.load(place), I32(lane))
    return result
