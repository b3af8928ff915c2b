"""The asv suite: every benchmark runs once, calls what its name says, and covers the ladder."""

import importlib
import itertools
import json
import math
import re
import sys
from pathlib import Path

import pytest

import fastsoftmax

ROOT = Path(__file__).parents[1]
MODULES = ("speed", "ratios", "accuracy", "costs")
OPS = ("softmax", "log_softmax", "logsumexp")
KINDS = ("time_", "track_", "peakmem_", "timeraw_")


@pytest.fixture(scope="module")
def suite():
    """Import the suite the way asv does, with its parent folder on the path."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield {name: importlib.import_module(f"asv_suite.{name}") for name in MODULES}
    finally:
        sys.path.pop(0)


def configuration():
    text = re.sub(r"^\s*//.*$", "", (ROOT / "asv.conf.json").read_text(), flags=re.MULTILINE)
    return json.loads(text)


def benchmarks(suite):
    """Yield (class, method name) for every benchmark."""
    for module in suite.values():
        for thing in vars(module).values():
            if isinstance(thing, type) and thing.__module__ == module.__name__:
                yield from ((thing, name) for name in vars(thing) if name.startswith(KINDS))


@pytest.fixture
def small(suite, monkeypatch, restore_threads):
    """Shrink shapes and races: what is tested is that a benchmark works, not what it finds."""
    problems = importlib.import_module("asv_suite.problems")
    shapes = {name: ((4, 3), axis) for name, (_, axis) in problems.SHAPES.items()}
    monkeypatch.setattr(problems, "SHAPES", shapes)
    monkeypatch.setattr(suite["ratios"], "SHAPES", shapes)
    monkeypatch.setattr(suite["ratios"], "SIZES", dict.fromkeys(suite["ratios"].SIZES, (4, 3)))
    monkeypatch.setattr(suite["ratios"], "SECONDS", 0.0)
    monkeypatch.setattr(suite["ratios"], "LAPS", 1)
    problems.problem.cache_clear()
    yield
    problems.problem.cache_clear()


def test_every_benchmark_runs(suite, small, monkeypatch):
    monkeypatch.setattr(suite["costs"], "rows", lambda *shape, dtype: suite["speed"].few(40).reshape(8, 5))
    count = 0
    for cls, name in benchmarks(suite):
        if name.startswith("timeraw_"):
            continue
        if hasattr(cls, "setup_cache"):
            assert cls().setup_cache() is None  # else asv would hand it to every benchmark
        for parameters in itertools.product(*getattr(cls, "params", ())):
            result = getattr(cls(), name)(*parameters)
            assert name.startswith("track_") == isinstance(result, float), (name, parameters)
            if name.startswith("track_") and math.isnan(result):
                assert parameters[0] == "naive" or cls.__name__ == "Memory", (name, parameters)
            count += 1
    assert count > 100


def test_code_run_in_fresh_processes_is_python(suite):
    for cls, name in benchmarks(suite):
        if name.startswith("timeraw_"):
            for parameters in itertools.product(*getattr(cls, "params", ())):
                code = getattr(cls(), name)(*parameters)
                for part in (code,) if isinstance(code, str) else code:
                    compile(part, name, "exec")


def test_benchmarks_call_the_function_they_are_named_after(suite, small, monkeypatch):
    called = []
    for op in OPS:
        original = getattr(fastsoftmax, op)

        def spy(*args, op=op, original=original, **keywords):
            called.append((op, keywords.get("method")))
            return original(*args, **keywords)

        monkeypatch.setattr(fastsoftmax, op, spy)
    for cls, name in benchmarks(suite):
        op = name.partition("_")[2]
        if op in OPS:
            parameters = [values[0] for values in getattr(cls, "params", ())]
            called.clear()
            getattr(cls(), name)(*parameters)
            assert {what for what, _ in called} == {op}, f"{cls.__name__}.{name}"
            if "rung" in getattr(cls, "param_names", ()):
                assert {how for _, how in called} == {parameters[cls.param_names.index("rung")]}


def test_every_function_and_rung_is_covered(suite):
    rungs = tuple(rung.name for rung in fastsoftmax.methods())
    assert OPS == suite["speed"].OPS
    assert suite["speed"].Rungs.params[0] == rungs
    assert suite["accuracy"].MaxError.params[0] == rungs
    for cls, prefix in (
        (suite["speed"].Rungs, "time_"),
        (suite["speed"].Half, "time_"),
        (suite["speed"].Forms, "time_"),
        (suite["speed"].Calls, "time_"),
        (suite["speed"].CallsInto, "time_"),
        (suite["ratios"].OverCopy, "track_"),
        (suite["ratios"].Ratio, "track_"),
        (suite["accuracy"].MaxError, "track_"),
    ):
        assert [prefix + op for op in OPS] == [name for name in vars(cls) if name.startswith(prefix)]


def test_history_is_kept_when_code_moves(suite):
    for cls, name in benchmarks(suite):
        assert vars(cls)["version"].isdigit(), name
        assert not hasattr(cls, "setup"), "asv would time single calls"
        assert len(cls.__dict__.get("params", ())) == len(cls.__dict__.get("param_names", ()))


def test_configuration():
    conf = configuration()
    assert (ROOT / conf["benchmark_dir"] / "__init__.py").exists()
    assert conf["branches"] == ["main"]
    assert all("--no-deps" in step for step in conf["build_command"] + conf["install_command"])
    assert not list((ROOT / conf["benchmark_dir"]).rglob("test_*.py")), "asv imports all of its folder"
