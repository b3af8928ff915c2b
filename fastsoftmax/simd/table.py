"""Tables of a number for each node of an octave, looked up by the low bits of a lane."""

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from fastsoftmax.simd.vector import FEATURES, HAS_AVX512, I32, bits_type, call, joined, llvm_vector, shuffle


def lookup_table(single, double):
    """Return a function of a vector: the entry whose number stands in the low bits of each lane.

    `single` are the entries for float32, `double` those for float64, as bits: as many as there are nodes.
    """
    entries_for = {32: single, 64: double}

    @intrinsic
    def lookup(typingctx, numbers):
        entries = entries_for[numbers.dtype.bitwidth]

        def codegen(context, builder, sig, values):
            raw = builder.bitcast(values[0], bits_type(numbers))
            lanes = min(numbers.lanes, len(entries))
            parts = [shuffle(builder, raw, raw, range(k, k + lanes)) for k in range(0, numbers.lanes, lanes)]
            found = [_look_up(builder, entries, part) for part in parts]
            return builder.bitcast(joined(builder, found), llvm_vector(numbers))

        return numbers(numbers), codegen

    return lookup


def _look_up(builder, entries, numbers):
    """Return the entries that a vector of integers asks for, in the way that the processor does best."""
    kind, width = numbers.type, numbers.type.element.width
    if HAS_AVX512 and kind.count == len(entries):
        name = "llvm.x86.avx512.permvar.si.512" if width == 32 else "llvm.x86.avx512.permvar.di.512"
        return call(builder, name, kind, [ir.Constant(kind, list(entries)), numbers])
    if "+avx2" in FEATURES and len(entries) == 8 and (width == 64 or kind.count == 8):
        return _permute(builder, entries, numbers) if width == 32 else _permute_words(builder, entries, numbers)
    return _read(builder, entries, numbers)


def _permute(builder, entries, numbers):
    """Look up 8 integers of 32 bits in as many entries: the one table that AVX2 has."""
    words = ir.VectorType(I32, 8)
    return call(builder, "llvm.x86.avx2.permd", words, [ir.Constant(words, list(entries)), numbers])


def _permute_words(builder, entries, numbers):
    """Look up 4 or 8 integers of 64 bits in 8 entries, whose lower and upper words are tables of their own.

    Of 8 integers the lower words come together in the order 0 1 4 5 2 3 6 7, from which the found words go back to
    their places: so nothing but the look-up crosses the halves of a register, which takes longer.
    """
    words = ir.VectorType(I32, 8)
    tables = [[entry & 0xFFFFFFFF for entry in entries], [entry >> 32 for entry in entries]]
    if numbers.type.count == 4:
        number_twice = shuffle(builder, *[builder.bitcast(numbers, words)] * 2, [0, 0, 2, 2, 4, 4, 6, 6])
        low, high = (_permute(builder, table, number_twice) for table in tables)
        return builder.bitcast(shuffle(builder, low, high, [0, 9, 2, 11, 4, 13, 6, 15]), numbers.type)
    halves = (shuffle(builder, numbers, numbers, lanes) for lanes in (range(4), range(4, 8)))
    a, b = (builder.bitcast(half, words) for half in halves)
    low, high = (_permute(builder, table, shuffle(builder, a, b, [0, 2, 8, 10, 4, 6, 12, 14])) for table in tables)
    found = (shuffle(builder, low, high, [k, k + 8, k + 1, k + 9, k + 4, k + 12, k + 5, k + 13]) for k in (0, 2))
    return joined(builder, [builder.bitcast(half, ir.VectorType(numbers.type.element, 4)) for half in found])


def _read(builder, entries, numbers):
    """Look up one lane after the other in memory."""
    kind, count = numbers.type, len(entries)
    memory = cgutils.global_constant(builder, "entries", ir.Constant(ir.ArrayType(kind.element, count), list(entries)))
    wanted = builder.and_(numbers, ir.Constant(kind, [count - 1] * kind.count))
    result = ir.Constant(kind, ir.Undefined)
    for lane in range(kind.count):
        place = builder.gep(memory, [I32(0), builder.extract_element(wanted, I32(lane))])
        result = builder.insert_element(result, builder.load(place), I32(lane))
    return result
