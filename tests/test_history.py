"""The history command: which commits it measures, and what it says where it cannot; asv itself is played."""

import json
import os
import platform
import subprocess
from pathlib import Path

import pytest

from fastsoftmax import cli
from fastsoftmax.cli import history

CONFIGURATION = """{
    "results_dir": ".asv/results",
    // a comment
    "html_dir": ".asv/html"
}"""
NAMES = ("speed.Rungs.time_softmax", "ratios.Ratio.track_softmax")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Return a repository with three commits, in which the test stands."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    git("init", "-q", "-b", "main")
    (tmp_path / "asv.conf.json").write_text(CONFIGURATION)
    git("add", ".")
    for k in range(3):
        git("-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", f"change {k}: more")
    return tmp_path


def git(*arguments):
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.fixture
def asv(repository, monkeypatch):
    """Play asv: a run writes a result of both benchmarks; what a test puts into ``refused`` fails."""
    calls, refused = [], []

    def call(root, arguments, see):
        calls.append(arguments)
        if arguments[0] != "run":
            return 0
        see("· Creating environments\n")
        see("[ 50.00%] ··· Running\n")
        commit = arguments[-1].removesuffix("^!")
        if commit in refused:
            return 1
        folder = Path(".asv/results") / platform.node()
        folder.mkdir(parents=True, exist_ok=True)
        (folder.parent / "benchmarks.json").write_text(json.dumps(dict.fromkeys(NAMES) | {"version": 2}))
        (folder / f"{commit[:8]}-env.json").write_text(json.dumps({"results": dict.fromkeys(NAMES)}))
        return 0

    monkeypatch.setattr(history, "_call", call)
    call.calls, call.refused = calls, refused
    return call


def runs(asv):
    return [arguments[-1].removesuffix("^!") for arguments in asv.calls if arguments[0] == "run"]


def test_commits_without_a_result_are_measured_newest_first(asv, capsys):
    commits = git("rev-list", "HEAD")
    assert cli.main(["history", "2"]) == 0
    assert runs(asv) == commits[:2]
    assert asv.calls[0] == ["machine", "--yes"]
    assert asv.calls[-1] == ["publish"]
    out, err = capsys.readouterr()
    assert f"[1/2] {commits[0][:8]} change 2" in err
    assert "2 of 2 commits measured, 0 had results" in out
    assert str(Path(".asv/html/index.html")) in out

    asv.calls.clear()
    assert cli.main(["history", "9"]) == 0
    assert runs(asv) == commits[2:]
    assert "1 of 3 commits measured, 2 had results" in capsys.readouterr().out


def test_it_goes_on_after_an_interruption(asv, capsys):
    commits = git("rev-list", "HEAD")
    assert cli.main(["history", "1"]) == 0
    broken = next(Path(".asv/results").glob(f"*/{commits[0][:8]}-*"))
    broken.write_text(broken.read_text()[:20])
    asv.calls.clear()
    assert cli.main(["history", "2"]) == 0
    assert runs(asv) == commits[:2]


def test_a_new_benchmark_is_measured_for_commits_that_have_others(asv):
    commits = git("rev-list", "HEAD")
    assert cli.main(["history", "1"]) == 0
    known = Path(".asv/results/benchmarks.json")
    known.write_text(json.dumps(json.loads(known.read_text()) | {"costs.New.time_x": {}}))
    asv.calls.clear()
    assert cli.main(["history", "1", "--bench", "ratios"]) == 0
    assert runs(asv) == []
    assert cli.main(["history", "1"]) == 0
    assert runs(asv) == commits[:1]
    assert "--skip-existing" in asv.calls[-2]


def test_a_commit_that_cannot_be_measured_does_not_stop_the_others(asv, capsys):
    commits = git("rev-list", "HEAD")
    asv.refused.append(commits[1])
    assert cli.main(["history", "3"]) == 1
    assert runs(asv) == commits
    assert f"asv could not measure {commits[1][:8]}" in capsys.readouterr().err


def test_here_is_the_last_commit_as_installed(asv, capsys):
    commits = git("rev-list", "HEAD")
    assert cli.main(["history", "3", "--here", "--bench", "speed"]) == 0
    (arguments,) = [arguments for arguments in asv.calls if arguments[0] == "run"]
    assert arguments[2:] == ["--bench", "speed", "--python=same", "--set-commit-hash", commits[0]]
    Path("asv.conf.json").write_text(CONFIGURATION + "\n")
    assert cli.main(["history", "--here"]) == 2
    assert "commit your changes first" in capsys.readouterr().err


def test_what_is_missing_is_named(tmp_path, monkeypatch, capsys):
    def fails_with(words, *arguments):
        assert cli.main(["history", *arguments]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert words in err

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    fails_with("there is no git repository here")
    git("init", "-q")
    fails_with("has no asv.conf.json")
    (tmp_path / "asv.conf.json").write_text(CONFIGURATION)
    fails_with("has no commit yet")
    git("add", ".")
    git("-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "-m", "one")
    fails_with("give at least 1", "0")
    (tmp_path / "asv.conf.json").write_text("{")
    fails_with("cannot read")
    monkeypatch.setattr(history, "NEEDED", ("no_such_library",))
    fails_with("history needs no_such_library")


def test_the_output_of_asv_is_seen_and_kept(tmp_path):
    seen = []
    assert history._call(tmp_path, ["--help"], seen.append) == 0
    assert any("usage" in line for line in seen)
    assert (tmp_path / ".asv" / "history.log").read_text() == "".join(seen)
    assert history._call(tmp_path, ["no-such-command"], seen.append) != 0
