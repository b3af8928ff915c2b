"""The README does what it says: its examples run, its commands exist, its names are the package's."""

import ast
import doctest
import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import pytest

import fastsoftmax
from fastsoftmax import cli
from fastsoftmax.compare.results import Result

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def commands():
    """Return every shell command of the README as words, without comments."""
    lines = "".join(blocks("sh")).splitlines()
    return [shlex.split(part, comments=True) for line in lines for part in line.split("&&")]


def section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, flags=re.DOTALL | re.MULTILINE)[1]


def test_examples_give_what_they_show():
    parser = doctest.DocTestParser()
    examples = parser.get_doctest("".join(blocks("python")), {}, "README", "README.md", 0)
    assert len(examples.examples) > 5
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(examples, out=report.append)
    assert not runner.failures, "".join(report)


def test_every_public_name_is_in_the_table_of_names():
    table = section("Use").partition("| name |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", re.sub(r"\|[^|]*\|$", "|", table, flags=re.MULTILINE)))
    assert named == set(fastsoftmax.__all__)


def test_every_rung_is_in_the_ladder():
    assert re.findall(r"^\| `(\w+)` \|", section("The ladder"), flags=re.MULTILINE) == [
        rung.name for rung in fastsoftmax.methods()
    ]


@pytest.mark.parametrize("words", [c for c in commands() if c[0] == "fastsoftmax"], ids=" ".join)
def test_command_lines_are_understood(words):
    assert callable(cli.parser().parse_args(words[1:]).run)


def test_setting_up_takes_two_commands_and_the_gate_uses_them():
    setup, compare, test = blocks("sh")[:3]
    assert len(setup.splitlines()) == 2
    assert (compare, test) == ("fastsoftmax compare\n", "pytest\n")
    gate = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    install = setup.splitlines()[1]
    assert install in gate
    assert "pytest" in gate
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100


@pytest.mark.parametrize("path", re.findall(r"`([\w./]+/[\w./]+\.\w+|\.ci/run)`", README))
def test_files_exist(path):
    assert (ROOT / path).exists()


def test_benchmark_patterns_match_something():
    suite = ROOT / "benchmarks" / "asv_suite"
    names = []
    for file in suite.glob("*.py"):
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                names += [f"{file.stem}.{node.name}.{m.name}" for m in node.body if hasattr(m, "name")]
    patterns = re.findall(r"--bench\s+\"?([\w|.]+)", README)
    assert patterns
    for pattern in patterns:
        assert any(re.search(pattern, name) for name in names), pattern


@pytest.fixture
def tool():
    specification = importlib.util.spec_from_file_location("readme_tool", ROOT / "tools" / "readme.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_tables_and_pictures_are_fresh(tool, capsys):
    assert tool.main(["--check"]) == 0, capsys.readouterr().out


def test_stale_ones_are_noticed(tool, tmp_path, monkeypatch, capsys):
    for name in ("compare.json", "accuracy.json"):
        shutil.copy(ROOT / "benchmarks" / "results" / name, tmp_path)
    (tmp_path / "README.md").write_text("<!-- [[[cog cog.out('new') ]]] -->\nold\n<!-- [[[end]]] -->\n")
    (tmp_path / "ratios.svg").write_text("old")
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "RESULTS", tmp_path)
    assert tool.main(["--check"]) != 0
    assert "ratios.svg is not fresh" in capsys.readouterr().out
    assert (tmp_path / "ratios.svg").read_text() == "old"
    assert tool.main([]) == 0
    assert tool.main(["--check"]) == 0
    (tmp_path / "ratios.svg").unlink()
    assert tool.main(["--check"]) == 1


def test_every_picture_shown_exists_and_has_a_text_alternative():
    shown = re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", README)
    assert shown
    for text, path in shown:
        assert len(text) > 40
        assert "<svg" in (ROOT / path).read_text("utf-8")


def test_saved_result_is_the_one_shown():
    saved = Result.load(ROOT / "benchmarks" / "results" / "compare.json")
    assert saved.threads == 1
    assert not saved.interrupted
    assert len(saved.races) > 20
    for table in saved.races:  # points of curves are in the picture
        assert f"| {table.workload} | `{table.op}` |" in section("Speed")
