"""The proof of e^x: it covers what it claims to cover, finds the right errors, and sees what is wrong."""

import itertools
import json
import math

import mpmath
import numpy as np
import pytest

from fastsoftmax import cli
from fastsoftmax.compare import proof
from fastsoftmax.kernels.exponential import UNITS
from fastsoftmax.simd import NODES

needs_long_double = pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no extended precision")


def taken_apart(x):
    """Return (e, large, small, n) of an array of whole vectors."""
    parts = [np.empty_like(x) for _ in range(4)]
    proof.exponentials[x.dtype](x, *parts)
    return parts


def error_by_digits(x):
    """Return the error of e^x at one argument in ULP, computed by mpmath alone."""
    e, _, _, n = (float(v[0]) for v in taken_apart(np.full(16, x)))
    with mpmath.workdps(50):
        true = UNITS[8 * x.itemsize] * mpmath.exp(float(x)) / mpmath.mpf(2) ** int(n)
        ulp = np.finfo(x.dtype).eps * 2.0 ** math.floor(mpmath.log(true, 2))
        return float(abs(e - true) / ulp)


def test_float32_runs_cover_every_number_once(monkeypatch):
    seen = []

    def kernel(x, e, large, small, n, first, last, sign, found):
        seen.append((sign, first, last))
        found[:] = 0

    monkeypatch.setattr(proof, "try_float32", {np.dtype(np.float32): kernel})
    monkeypatch.setattr(proof, "RUN", 1 << 26)
    told = []
    finding = proof.every_float32(progress=told.append)
    largest = int(np.float32(proof.LARGEST).view(np.uint32))
    assert finding.tried == 2 * (largest + 1)
    for sign in (0, 1 << 31):
        runs = sorted(run[1:] for run in seen if run[0] == sign)
        assert runs[0][0] == 0
        assert runs[-1][1] == largest + 1
        assert all(begin == end - 1 for (_, end), (begin, _) in itertools.pairwise(runs))
    assert told == sorted(told)
    assert told[-1] == 1


@pytest.mark.parametrize("bits", [0x3F800000, 0x41234567, 0x47B00000, 0x3CB00000])
@pytest.mark.parametrize("sign", [0, 1 << 31])
def test_the_worst_of_a_run_is_the_worst_by_digits(bits, sign):
    found = np.zeros(4)
    scratch = (np.empty(256, np.float32) for _ in range(5))
    proof.try_float32[np.dtype(np.float32)](*scratch, bits, bits + 1000, sign, found)
    x = (np.arange(bits, bits + 1000, dtype=np.uint32) | np.uint32(sign)).view(np.float32)
    errors = [error_by_digits(v) for v in x]
    assert found[0] == pytest.approx(max(errors), abs=1e-6)
    assert error_by_digits(np.float32(found[1])) == pytest.approx(max(errors), abs=1e-6)
    e, large, small, n = (v.astype(np.float64) for v in taken_apart(np.append(x, x[:8])))
    true = np.exp(np.append(x, x[:8]).astype(np.longdouble) - n * np.log(np.longdouble(2)))
    assert found[2] == pytest.approx(float((np.abs(large + small - true) / true)[:1000].max()), rel=1e-3)
    value = (e * np.exp2(n - n[0]))[:1000]
    assert found[3] == np.count_nonzero(np.diff(value[::-1] if sign else value) < 0)


def test_neighbours_out_of_order_are_counted():
    # some of the few there are, from the full run
    x = np.float32({16: -0.02163602, 8: 0.0470073}[NODES[32]])
    bits, sign = int(np.abs(x).view(np.uint32)), (1 << 31 if x < 0 else 0)
    found = np.zeros(4)
    scratch = (np.empty(256, np.float32) for _ in range(5))
    proof.try_float32[np.dtype(np.float32)](*scratch, bits - 2000, bits + 2000, sign, found)
    x = (np.arange(bits - 2000, bits + 2000, dtype=np.uint32) | np.uint32(sign)).view(np.float32)
    e, _, _, n = taken_apart(x[::-1].copy() if sign else x)
    assert found[3] == np.count_nonzero(np.diff(e.astype(np.float64) * 2.0**n) < 0) > 0


def test_a_sample_of_float32_holds():
    finding = proof.every_float32(stride=1000)
    assert finding.holds
    assert finding.tried > 2_000_000
    assert 0.5 < finding.worst_ulp < 0.6
    least, most = {16: (-28, -26.5), 8: (-29, -26.3)}[NODES[32]]
    assert least < finding.parts_bits < most


@needs_long_double
def test_float64_holds_and_its_worst_is_the_worst_by_digits():
    finding = proof.many_float64(10**5)
    assert finding.holds
    assert finding.tried >= 10**5 + proof.seams().size + len(proof.HARD_TO_ROUND)
    assert error_by_digits(np.float64(finding.worst_at)) == pytest.approx(finding.worst_ulp, abs=0.01)
    for x in proof.HARD_TO_ROUND:
        assert error_by_digits(np.float64(x)) < 0.6


def test_hard_numbers_are_hard():
    # e^x lies next to a float64 or half-way between two: to 2^-40 of the gap at least
    with mpmath.workdps(60):
        for x in proof.HARD_TO_ROUND:
            e = mpmath.exp(mpmath.mpf(x))
            steps = e / mpmath.mpf(2) ** (int(mpmath.floor(mpmath.log(e, 2))) - 53)
            assert abs(steps - mpmath.nint(steps)) < 2.0**-40, x


def test_seams_are_where_rounding_changes():
    x = proof.seams()
    steps = np.rint(x * (8 / np.log(2)))
    assert (np.diff(x) >= 0).all()
    assert np.unique(steps).size == 8 * 2046 + 1


@needs_long_double
def test_what_is_wrong_is_seen(monkeypatch):
    monkeypatch.setattr(proof, "LN2_LOW", proof.LN2_LOW * (1 + 2.0**-15))
    finding = proof.many_float64(1000)
    assert not finding.holds
    monkeypatch.setattr(proof, "every_float32", lambda *arguments: finding)
    assert cli.main(["prove", "--count", "1000"]) == 1


def test_command(tmp_path, capsys):
    path = tmp_path / "proof.json"
    assert cli.main(["prove", "--stride", "5000", "--count", "1000", "--json", str(path)]) == 0
    captured = capsys.readouterr()
    single, double = json.loads(path.read_text())
    assert (single["dtype"], double["dtype"]) == ("float32", "float64")
    assert single["holds"] is True
    assert f"float32: e^x errs by {single['worst_ulp']:.4f} ULP at most" in captured.out
    assert captured.err == "[1/2] float32\n[2/2] float64\n"
    assert cli.main(["prove", "--stride", "0"]) == 2
