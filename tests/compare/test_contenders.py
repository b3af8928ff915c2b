"""Every contender computes what it should, or says that it cannot."""

import importlib.metadata
import os
import subprocess
import sys

import numpy as np
import pytest

import fastsoftmax
from fastsoftmax.compare import contenders, exact
from fastsoftmax.compare.workloads import OPS, InputError, random

ALL = contenders.contenders()


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("contender", ALL, ids=lambda contender: contender.name)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the peers' own
def test_values(contender, op, dtype, axis):
    x = random(6, 9, dtype=dtype, axis=axis).array
    try:
        call = contender.call(op, x, axis, 1)
    except (ImportError, contenders.Unsupported) as reason:
        pytest.skip(str(reason))
    true = getattr(exact, op)(x, axis).astype(dtype)
    result = call.fetch(call.run())
    assert result.dtype == x.dtype
    np.testing.assert_allclose(result, true, rtol=1e-4, atol=1e-5)
    if call.reuse is not None:
        reused = call.reuse()
        assert reused is call.reuse() or reused is None or np.shares_memory(reused, call.reuse())
        np.testing.assert_allclose(result if reused is None else call.fetch(reused), true, rtol=1e-4, atol=1e-5)


def test_what_a_contender_lacks_is_unsupported():
    logaddexp = next(contender for contender in ALL if contender.name == "logaddexp")
    with pytest.raises(contenders.Unsupported, match="has no softmax"):
        logaddexp.call("softmax", np.zeros((2, 2)), -1, 1)


def test_every_record_says_where_it_comes_from_and_how_its_threads_are_held():
    assert len({contender.name for contender in ALL}) == len(ALL)
    for contender in ALL:
        assert contender.note
        assert contender.extra in importlib.metadata.metadata("fastsoftmax").get_all("Provides-Extra")
        assert (contender.threads == "its own switch") == (contender.ours or contender.limit_threads is not None)


def test_one_record_a_rung():
    ours = [contender for contender in ALL if contender.ours]
    assert [c.name for c in ours] == [f"fastsoftmax {rung.name}" for rung in fastsoftmax.methods()]
    assert all(c.version for c in ours)


def test_chosen_methods_and_unknown_ones():
    chosen = contenders.contenders(["auto", "stable", "auto"])
    assert [c.name for c in chosen if c.ours] == ["fastsoftmax auto", "fastsoftmax stable"]
    assert chosen[2:] == contenders.PEERS
    with pytest.raises(InputError, match="unknown method 'fast'; there are naive, stable"):
        contenders.contenders(["auto", "fast"])


def test_absent_libraries_are_skipped_with_a_word():
    def missing(op, x, axis, threads):
        import no_such_library  # noqa: F401

    def broken(op, x, axis, threads):
        raise OSError("libsomething.so: cannot open\nmore")

    candidates = [
        contenders.Contender("a", "a", missing),
        contenders.Contender("b", "b", broken),
        contenders.PEERS[0],
    ]
    able, skipped = contenders.installed(candidates)
    assert able == [contenders.PEERS[0]]
    assert skipped == {
        "a": 'not installed (no_such_library is missing: pip install "fastsoftmax[bench]")',
        "b": "does not import: libsomething.so: cannot open",
    }


def test_equal_threads_sets_and_restores():
    seen = []
    racer = contenders.Contender("x", "numpy", contenders.PEERS[0].prepare, limit_threads=seen.append)
    before = fastsoftmax.get_num_threads()
    with contenders.equal_threads([racer], 1):
        assert fastsoftmax.get_num_threads() == 1
    assert (seen, fastsoftmax.get_num_threads()) == ([1], before)


def test_pin_refuses_more_than_there_is():
    with pytest.raises(InputError, match="--threads 0"):
        contenders.pin(0)
    with pytest.raises(InputError, match="--threads 100000"):
        contenders.pin(100_000)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no CPU affinity on this system")
def test_pin_restricts_the_process():
    code = "import os; from fastsoftmax.compare.contenders import pin;pin(1); print(len(os.sched_getaffinity(0)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
