"""The package from outside: its names, version, typing marker, and what importing it brings along."""

import importlib.metadata
import importlib.resources
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastsoftmax

ROOT = Path(__file__).parents[1]
FUNCTIONS = {
    "softmax",
    "log_softmax",
    "logsumexp",
    "set_num_threads",
    "get_num_threads",
    "show_config",
    "explain",
    "methods",
}


def test_all_is_the_public_contract():
    assert sorted(fastsoftmax.__all__) == sorted({"__version__", *FUNCTIONS})
    for name in FUNCTIONS:
        assert callable(getattr(fastsoftmax, name))


def test_nothing_else_looks_public():
    modules = {name for name, thing in vars(fastsoftmax).items() if inspect.ismodule(thing)}
    names = {name for name in vars(fastsoftmax) if not name.startswith("_")}
    assert names - modules == FUNCTIONS


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_docstrings_name_every_parameter(name):
    function = getattr(fastsoftmax, name)
    text = inspect.getdoc(function)
    assert text
    first = text.splitlines()[0]
    assert first.endswith(".")
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^([\w, ]*, )?{parameter}(, | :|$)", text, flags=re.MULTILINE), parameter


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_positional_arguments_are_those_of_scipy(name):
    special = pytest.importorskip("scipy.special")
    theirs = inspect.signature(getattr(special, name)).parameters
    ours = inspect.signature(getattr(fastsoftmax, name)).parameters
    positional = [p for p in ours.values() if p.kind is not p.KEYWORD_ONLY]
    assert [(p.name, p.default) for p in positional] == [(p.name, p.default) for p in theirs.values()]
    extra = {"out", "where", "method"} | ({"temperature"} if name != "logsumexp" else set())
    assert {p.name for p in ours.values() if p.kind is p.KEYWORD_ONLY} == extra


def test_version_is_that_of_the_metadata_and_the_changelog():
    installed = importlib.metadata.version("fastsoftmax")
    assert installed == fastsoftmax.__version__
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert [installed] == re.findall(r'^version = "(.*)"$', project, flags=re.MULTILINE)
    assert f"## [{installed}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_types_are_shipped():
    assert importlib.resources.files("fastsoftmax").joinpath("py.typed").is_file()


def test_runtime_dependencies_are_numba_and_numpy():
    requirements = importlib.metadata.requires("fastsoftmax")
    needed = {line.partition(">")[0] for line in requirements if "extra ==" not in line}
    assert needed == {"numba", "numpy"}


def test_importing_brings_only_what_is_needed():
    """What the laboratory needs must not be loaded, nor missed, by those who only call the functions.

    Numba loads some of SciPy where it is installed; the functions themselves are not among that.
    """
    absent = (
        "scipy.special",
        "rich",
        "mpmath",
        "sklearn",
        "matplotlib",
        "torch",
        "jax",
        "fastsoftmax.compare",
    )
    code = (
        "import sys, numpy, fastsoftmax\n"
        "fastsoftmax.softmax(numpy.ones(3)), fastsoftmax.methods()\n"
        f"print([name for name in {absent!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
