"""The README's table of differences from SciPy: every row is run with both libraries, and says what they do."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.special

import fastsoftmax

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
SECTION = re.search(r"^## Differences from SciPy\n(.*?)^## ", README, flags=re.DOTALL | re.MULTILINE)[1]
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in SECTION.splitlines() if line[:3] == "| `"]
#: The SciPy whose results the table shows. Another one may have mended something: then the table wants a look.
SCIPY = re.search(r"^\| call \| SciPy (\S+) \|", SECTION, flags=re.MULTILINE)[1]

NAMES = {"inf": np.inf, "nan": np.nan, "masked_array": np.ma.masked_array} | {
    name: getattr(np, name) for name in ("array", "zeros", "ones", "float16", "float32", "int8", "uint8", "longdouble")
}


def result_of(library, expression):
    """What a call gives, or the name of the error it raises."""
    functions = {name: getattr(library, name) for name in ("softmax", "log_softmax", "logsumexp")}
    with warnings.catch_warnings():
        if library is scipy.special:
            warnings.simplefilter("ignore")
        try:
            return eval(expression, {**NAMES, **functions})
        except Exception as error:
            return type(error).__name__


def assert_shown(result, cell):
    """The cell shows this result: its shape, and its numbers to the digits that are there."""
    shown = re.match(r"`([^`]*)`", cell)[1]
    if re.fullmatch(r"\w*Error", shown):
        assert result == shown
        return
    assert not isinstance(result, str), result
    numbers = eval(shown, NAMES)
    assert np.shape(result) == np.shape(numbers)
    np.testing.assert_allclose(np.array(result, float), np.array(numbers, float), rtol=0.01, atol=0)


def test_the_table_is_there():
    assert len(ROWS) >= 12
    assert all(len(row) == 3 for row in ROWS)


@pytest.mark.parametrize(("call", "theirs", "ours"), ROWS, ids=[row[0] for row in ROWS])
def test_both_libraries_do_what_the_row_says(call, theirs, ours):
    expression = call.strip("`")
    assert_shown(result_of(fastsoftmax, expression), ours)
    if scipy.__version__.startswith(SCIPY):
        assert_shown(result_of(scipy.special, expression), theirs)


def test_the_sums_of_many_equal_rows():
    """The row that does not fit in a line: a float32 sum stops growing at 2^24 equal terms."""
    x = np.zeros((2**25, 2), np.float32)
    p = fastsoftmax.softmax(x, 0)
    np.testing.assert_allclose(p.sum(axis=0, dtype=float), 1, rtol=0, atol=2.5e-7)
