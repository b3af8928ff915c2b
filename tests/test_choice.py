"""What `auto` says it chooses, for arrays of every kind."""

import numpy as np
import pytest

import fastsoftmax
from fastsoftmax.layouts import collapse

CASES = {
    "rows": (np.zeros((64, 1000), np.float32), 1),
    "narrow rows": (np.zeros((64, 10), np.float32), 1),
    "short rows": (np.zeros((64, 300), np.float32), 1),
    "long rows": (np.zeros(2**19, np.float32), None),
    "columns": (np.zeros((300, 64), np.float32), 0),
    "short columns": (np.zeros((3, 20, 64), np.float32), 1),
    "folded columns": (np.zeros((3, 700, 10), np.float32), 1),
    "tiles": (np.zeros((100, 64), np.int8), 1),
    "nothing": (np.zeros((0, 3)), 1),
    "plain NumPy": (np.zeros(3, np.complex128), None),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("op", ["softmax", "log_softmax", "logsumexp"])
def test_each_way_has_its_arrays(name, op):
    x, axis = CASES[name]
    assert fastsoftmax.explain(x, axis, op=op).split(":")[0] == name


def test_strides_decide():
    x = np.zeros((200, 300))
    assert fastsoftmax.explain(x.T, 0).startswith("rows")
    assert fastsoftmax.explain(x[:, ::2], 1).startswith("tiles")
    assert fastsoftmax.explain(np.asfortranarray(x), 1).startswith("columns")
    unaligned = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    assert fastsoftmax.explain(unaligned, 1).startswith("tiles")


def test_threads_pay_for_large_arrays_only():
    before = fastsoftmax.get_num_threads()
    fastsoftmax.set_num_threads(3)
    try:
        assert fastsoftmax.explain(np.zeros((2000, 1000)), 1).endswith("up to 3 threads")
        assert "one thread" in fastsoftmax.explain(np.zeros((10, 100)), 1)
        assert fastsoftmax.explain(np.zeros((10, 100)), 1, method="parallel").endswith("up to 3 threads")
    finally:
        fastsoftmax.set_num_threads(before)


def test_wrong_arguments_are_refused_as_elsewhere():
    with pytest.raises(np.exceptions.AxisError):
        fastsoftmax.explain(np.zeros(3), 1)
    with pytest.raises(TypeError, match="dtype"):
        fastsoftmax.explain(["a"])
    with pytest.raises(ValueError, match="softmax, log_softmax, logsumexp"):
        fastsoftmax.explain(np.zeros(3), op="max")


def test_dimensions_that_lie_behind_one_another_are_one():
    assert collapse([(3, 20, 40), (4, 5, 10), (5, 1, 2)]) == [(60, 1, 2)]
    assert collapse([(5, 1, 2), (3, 20, 40), (4, 5, 10)]) == [(60, 1, 2)]  # in any order
    assert collapse([(3, 20, 40), (1, 7, 9), (4, 5, 10)]) == [(12, 5, 10)]
    assert collapse([(3, 100, 100), (4, 5, 10), (5, 1, 2)]) == [(3, 100, 100), (20, 1, 2)]
    assert collapse([(4, 1, 10), (3, 20, 2)]) == [(3, 20, 2), (4, 1, 10)]  # the first array's order
    assert collapse([(3, 20, 41), (4, 5, 10)]) == [(3, 20, 41), (4, 5, 10)]
    assert collapse([(3, 21, 40), (4, 5, 10)]) == [(3, 21, 40), (4, 5, 10)]
    assert collapse([(4, -5, 5), (5, -1, 1)]) == [(20, -1, 1)]
    assert collapse([(4, -5, 5), (5, 1, 1)]) == [(4, -5, 5), (5, 1, 1)]
    assert collapse([(4, 0, 5), (3, 0, 20)]) == [(12, 0, 5)]  # of equal strides in one array the other decides
    assert collapse([(1, 3, 3)]) == collapse([]) == []
