"""The survey of errors: complete, right, and shown."""

import io
import itertools
import json
import math

import numpy as np
import pytest
from rich.console import Console

from fastsoftmax import cli
from fastsoftmax.compare import error_plot, error_report, exact, families, lab, survey
from fastsoftmax.compare.accuracy import exact_ulp
from fastsoftmax.compare.contenders import Call, Contender, contenders
from fastsoftmax.compare.results import Result

needs_long_double = pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no extended precision")
PEERS = [c for c in contenders(["naive", "auto"]) if c.ours or c.name == "scipy"]


@pytest.fixture(scope="module")
def small():
    """A survey of three contenders on a few kinds of rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(survey, "SCALES", (1.0, 100.0))
        patch.setattr(survey, "LENGTHS", (1, 100))
        patch.setattr(families, "FAMILIES", {name: families.FAMILIES[name] for name in ("normal*3", "near 0", "1e30")})
        result = lab.new_result(lab.Plan([], PEERS), {"torch": "not installed"})
        told = []
        survey.run(PEERS, ["float32"], ["softmax", "logsumexp"], result, lambda *progress: told.append(progress))
    assert [done for done, _, _ in told] == list(range(15))
    assert {of for _, of, _ in told} == {14}
    return result


def test_a_table_for_each_kind_of_rows(small):
    kinds = [(table.workload, table.op, tuple(table.figures.items())) for table in small.tables]
    series = [("scale", (("scale", 1.0),)), ("scale", (("scale", 100.0),)), ("length", (("length", 1.0),))]
    rows = [*((name, ()) for name in ("normal*3", "near 0", "1e30")), *series, ("length", (("length", 100.0),))]
    assert kinds == [(name, op, figures) for name, figures in rows for op in ("softmax", "logsumexp")]
    assert all([row.contender for row in table.rows] == [c.name for c in PEERS] for table in small.tables)
    assert Result.from_json(small.to_json()).to_json() == small.to_json()


def test_our_default_is_exact_and_naive_is_not(small):
    for table in small.tables:
        assert table.row("fastsoftmax auto").exact, table
    assert survey.worst(small, "fastsoftmax naive", "softmax", "float32").max_ulp == math.inf
    assert 0.5 < survey.worst(small, "fastsoftmax auto", "softmax", "float32").max_ulp <= 2
    assert survey.worst(small, "fastsoftmax auto", "log_softmax", "float32") is None


def test_an_error_of_three_ulp_is_found():
    def prepare(op, x, axis, threads):
        true = getattr(exact, op)(x, axis).astype(x.dtype)
        true.flat[7] += 3 * np.spacing(true.flat[7])
        return Call(lambda: true)

    off = Contender("off", "numpy", prepare)
    result = lab.new_result(lab.Plan([], [off]), {})
    survey.run([off], ["float32"], ["softmax"], result)
    assert len(result.tables) == len(families.FAMILIES) + len(survey.SCALES) + len(survey.LENGTHS)
    flat = [table for table in result.tables if table.workload == "zeros"]
    assert [table.rows[0].max_ulp for table in flat] == [pytest.approx(3, abs=0.5)]
    assert not flat[0].rows[0].exact


@pytest.mark.parametrize(("dtype", "count"), [("float32", 34), ("float64", 36), ("float16", 32)])
def test_types_get_the_families_they_can_hold(dtype, count):
    made = [w for w in survey.workloads(dtype) if w.name not in survey.SERIES]
    assert len(made) == count
    for workload in made:
        x = workload.build().array
        assert x.dtype == dtype
        assert x.shape == (survey.ROWS, survey.LENGTH)
        assert not np.isnan(x).any()
        assert np.isfinite(x).all() or workload.name == "-inf masks"


def test_half_floats_are_to_be_rounded_correctly():
    assert exact_ulp("softmax", "float32") == exact_ulp("softmax", "float64") == 2
    assert exact_ulp("softmax", "float16") == 0.5 + 2 / 2**13
    assert exact_ulp("logsumexp", "bfloat16") == 0.5 + 1 / 2**16


def test_report(small):
    console = Console(width=140, record=True, file=io.StringIO())
    error_report.show(small, console)
    lines = console.export_text().splitlines()
    text = " ".join(" ".join(lines).split())
    for table in small.tables:
        assert error_report.title(table) in text
    assert "softmax of float32: largest and mean error in ULP" in text
    assert "called exact up to" in text
    assert "torch was skipped: not installed" in text
    auto = next(line for line in lines if "fastsoftmax auto" in line)
    assert float(auto.split()[-2]) <= 2
    assert float(auto.split()[-1]) <= 1


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_plot(small, tmp_path, suffix):
    path = tmp_path / f"errors.{suffix}"
    error_plot.draw(small, path)
    content = path.read_bytes()
    assert content.startswith(b"<?xml" if suffix == "svg" else b"\x89PNG")
    error_plot.draw(small, path)
    assert suffix == "png" or path.read_bytes() == content  # nothing in it but the result


def test_curves_follow_the_figure(small):
    lines = error_plot.curves(small, "softmax", "float32", "scale")
    assert list(lines) == [c.name for c in PEERS]
    assert [scale for scale, _ in lines["scipy"]] == [1.0, 100.0]
    table = next(t for t in small.tables if t.figures == {"scale": 1.0})
    assert lines["scipy"][0][1] == table.row("scipy").max_ulp
    # naive overflows on the larger scale, and is drawn all the same
    assert lines["fastsoftmax naive"][1][1] == math.inf


def test_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(survey, "LENGTHS", (10,))
    saved, picture = tmp_path / "errors.json", tmp_path / "errors.svg"
    arguments = ["accuracy", "--op", "logsumexp", "--dtype", "float32", "--methods", "auto"]
    assert cli.main([*arguments, "--json", str(saved), "--plot", str(picture)]) == 0
    captured = capsys.readouterr()
    assert "logsumexp of float32" in captured.out
    assert len(captured.err.splitlines()) <= 25
    tables = json.loads(saved.read_text())["tables"]
    assert {(t["op"], t["dtype"]) for t in tables} == {("logsumexp", "float32")}
    assert picture.stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "nonsense"], "unknown method"),
        (["--plot", "x.jpeg"], "must end in .svg, .png or .pdf"),
        (["--json", "/no/such/folder/x.json"], "no folder"),
    ],
)
def test_mistakes_get_one_line(arguments, message, capsys):
    assert cli.main(["accuracy", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_families_are_the_same_each_time_and_of_any_length():
    for name, n in itertools.product(families.names("float64"), (1, 2, 3, 50)):
        x = families.family(name, "float64", n, rows=2)
        assert x.shape == (2, n)
        np.testing.assert_array_equal(x, families.family(name, "float64", n, rows=2))
