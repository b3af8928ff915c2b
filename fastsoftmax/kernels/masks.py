"""Elements that take no part: they count as -inf, and their results are what that gives."""

from fastsoftmax.jit import kernel


@kernel("out", "flags", "int", "real")
def replace_where_unset(numbers, flags, n, value):
    """Write a value to each of the first n numbers whose flag is 0, without a branch, which would be guessed wrong."""
    for i in range(n):
        numbers[i] = numbers[i] if flags[i] else value
