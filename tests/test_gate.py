"""The gate's command: what it compares with what, and its exit status; the measuring is played."""

import os
import subprocess
from pathlib import Path

import pytest

from fastsoftmax import cli
from fastsoftmax.compare import gate
from fastsoftmax.compare.gate import Finding


def git(*arguments):
    identity = ("-c", "user.name=x", "-c", "user.email=x")
    return subprocess.run(["git", *identity, *arguments], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def repository(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    root = tmp_path / "clone"
    (root / "fastsoftmax" / "compare").mkdir(parents=True)
    (root / "fastsoftmax" / "__init__.py").write_text("one")
    monkeypatch.chdir(root)
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    return root


@pytest.fixture
def measured(monkeypatch):
    """Play the measuring: it sees what both folders hold and finds what the test says."""
    seen = []

    def speed(new, base, tell):
        seen.append(tuple((folder / "fastsoftmax" / "__init__.py").read_text() for folder in (new, base)))
        return [Finding("a", not measured.slower, "1.3 of the base's time"), Finding("b", True, "fine")]

    def measured():
        return seen

    measured.slower = False
    monkeypatch.setattr(gate, "speed", speed)
    monkeypatch.setattr(gate, "errors", lambda new, base, tell: [Finding("c", True, "1 ULP")])
    return measured


def test_without_a_previous_commit_it_is_skipped_with_a_word(repository, measured, capsys):
    assert cli.main(["gate"]) == 0
    assert "skipped, there is no previous commit" in capsys.readouterr().out
    assert measured() == []


def test_changed_files_are_compared_with_the_last_commit_else_that_with_the_one_before(repository, measured, capsys):
    file = repository / "fastsoftmax" / "__init__.py"
    file.write_text("two")
    assert cli.main(["gate"]) == 0
    git("commit", "-qam", "two")
    assert cli.main(["gate"]) == 0
    file.write_text("three")
    assert cli.main(["gate", "HEAD^"]) == 0
    assert measured() == [("two", "one"), ("two", "one"), ("three", "one")]
    assert "passed, none of 3 worse" in capsys.readouterr().out
    assert git("worktree", "list").count("\n") == 1


def test_a_slower_one_fails_and_leaves_nothing_behind(repository, measured, capsys):
    (repository / "fastsoftmax" / "__init__.py").write_text("two")
    measured.slower = True
    assert cli.main(["gate"]) == 1
    out = capsys.readouterr().out
    assert "WORSE a: 1.3 of the base's time" in out
    assert "failed, 1 of 3 worse" in out
    assert git("worktree", "list").count("\n") == 1


def test_what_is_not_measured_needs_no_measuring(repository, measured, capsys):
    (repository / "README.md").write_text("new")
    (repository / "fastsoftmax" / "compare" / "new.py").write_text("new")
    git("add", ".")
    git("commit", "-qm", "two")
    assert cli.main(["gate"]) == 0
    assert "nothing that is measured differs" in capsys.readouterr().out
    assert measured() == []
    assert cli.main(["gate", "--always"]) == 0
    (repository / "fastsoftmax" / "untracked.py").write_text("new")
    assert cli.main(["gate"]) == 0
    assert len(measured()) == 2


def test_mistakes_get_one_line(repository, measured, monkeypatch, tmp_path, capsys):
    assert cli.main(["gate", "no-such-commit"]) == 2
    assert "no-such-commit is no commit of" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert cli.main(["gate"]) == 2
    assert "there is no git repository here" in capsys.readouterr().err
    assert not Path("clone/.git/worktrees").exists() or not list(Path("clone/.git/worktrees").iterdir())
