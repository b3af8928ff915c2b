"""The command line as its users meet it: in a process of its own."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastsoftmax
from fastsoftmax import cli

COMMAND = [sys.executable, "-W", "error::RuntimeWarning", "-m", "fastsoftmax"]


def run(*arguments, **options):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120, **options)


@pytest.fixture
def logits(tmp_path):
    path = tmp_path / "logits.npy"
    np.save(path, np.random.default_rng(0).standard_normal((20, 30), np.float32))
    return path


def test_version_and_info():
    from importlib.metadata import version

    assert run("--version").stdout == f"fastsoftmax {version('fastsoftmax')}\n"
    info = run("info")
    assert info.returncode == 0
    assert version("fastsoftmax") in info.stdout
    assert info.stderr == ""


def test_info_imports_no_extras():
    code = (
        "import sys; from fastsoftmax.cli import main; main(['info']);"
        "print(sorted({'rich', 'sklearn', 'torch', 'fastsoftmax.compare'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_own_array_and_json(logits, tmp_path):
    from fastsoftmax.compare.results import Result

    saved = tmp_path / "result.json"
    done = run("compare", str(logits), "--axis", "0", "--op", "softmax", "--quick", "--json", str(saved))
    assert done.returncode == 0, done.stderr
    assert "logits.npy: softmax of 20 x 30 float32, axis 0" in done.stdout
    assert "* auto " in done.stdout
    assert done.stderr == "[1/1] logits.npy, softmax\n"
    assert "\x1b" not in done.stdout
    (table,) = Result.load(saved).tables
    ours = {row.contender for row in table.rows if row.ours}
    assert ours == {f"fastsoftmax {rung.name}" for rung in fastsoftmax.methods()}
    assert all(row.best_ns for row in table.rows if row.ours)


def test_quick_comparison_on_real_input():
    done = run("compare", "--quick", "--methods", "stable, auto")
    assert done.returncode == 0, done.stderr
    assert "unseen digits right" in done.stdout
    assert "mixture: logsumexp" in done.stdout
    assert "* naive" not in done.stdout
    assert "contender" in done.stdout.splitlines()[-1]


def test_pages_from_a_saved_result(logits, tmp_path):
    files = [tmp_path / name for name in ("result.json", "again.json", "page.html", "tables.md")]
    saved, again, page, tables = map(str, files)
    assert run("compare", str(logits), "--op", "softmax", "--quick", "--json", saved).returncode == 0
    done = run("compare", "--from", saved, "--html", page, "--markdown", tables, "--json", again)
    assert done.returncode == 0, done.stderr
    assert "logits.npy: softmax of 20 x 30 float32" in done.stdout
    assert done.stderr == ""
    assert files[0].read_text() == files[1].read_text()
    assert "softmax, logits.npy" in files[2].read_text()
    assert "### logits.npy, `softmax`" in files[3].read_text()


def test_contenders_are_listed():
    done = run("compare", "--list")
    assert done.returncode == 0, done.stderr
    assert "numpy.logaddexp.reduce" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "nothing.json"], "cannot read nothing.json: No such file"),
        (["--from", "LOGITS"], "cannot use"),
        (["--from", "x.json", "LOGITS"], "--from shows a saved result"),
        (["LOGITS", "--html", "no/such/page.html"], "cannot write no/such/page.html"),
        (["nothing.npy"], "no such file: nothing.npy"),
        (["LOGITS", "--axis", "2"], "axis 2 does not exist"),
        (["LOGITS", "--axis", "last"], "argument --axis: invalid int value"),
        (["LOGITS", "--op", "softmin"], "argument --op: invalid choice"),
        (["LOGITS", "--methods", "auto,fast"], "unknown method 'fast'"),
        (["LOGITS", "--threads", "0"], "--threads 0 is not possible"),
        (["LOGITS", "--json", "no/such/folder.json"], "cannot write no/such/folder.json"),
        (["LOGITS", "--json", "."], "it is a folder"),
        (["--axis", "0"], "--axis goes with a FILE.npy"),
        (["STRINGS"], "holds text"),
    ],
)
def test_mistakes_get_one_line_and_status_2(logits, tmp_path, arguments, message):
    np.save(tmp_path / "strings.npy", np.array(["a", "b"]))
    files = {"LOGITS": str(logits), "STRINGS": str(tmp_path / "strings.npy")}
    done = run("compare", *[files.get(argument, argument) for argument in arguments], cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_missing_extras_are_named(monkeypatch, capsys):
    monkeypatch.setattr(cli.compare, "NEEDED", ("scipy", "no_such_library"))
    assert cli.main(["compare"]) == 2
    assert capsys.readouterr().err == ('fastsoftmax: compare needs no_such_library: pip install "fastsoftmax[bench]"\n')


@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
def test_ctrl_c_prints_what_was_measured(logits):
    process = subprocess.Popen(
        [*COMMAND, "compare", str(logits)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    guard = threading.Timer(100, process.kill)
    guard.start()
    try:
        for line in process.stderr:
            if line.startswith("[2/"):  # the first table is complete
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate()
    finally:
        guard.cancel()
    assert process.returncode == 130
    assert "logits.npy: softmax" in out
    assert "Interrupted: these are the results so far." in out
    assert "Fastest exact" in out or "None is exact" in out
    assert "Traceback" not in err


def test_ctrl_c_before_anything_was_measured(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.info, "run", interrupted)
    assert cli.main(["info"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_scaling_of_an_own_array(logits, tmp_path):
    from fastsoftmax.compare import scaling

    saved = tmp_path / "scaling.json"
    done = run("scaling", str(logits), "--op", "logsumexp", "--threads", "1", "--json", str(saved))
    assert done.returncode == 0, done.stderr
    assert "logits.npy  logsumexp" in done.stdout
    assert done.stderr == "[1/1] 1 thread\n"
    (result,) = scaling.load(saved)
    assert result.threads == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--threads", "two"], "--threads takes numbers"),
        (["--threads", "0"], "is not possible: this process may use"),
        (["--threads", "9999"], "is not possible: this process may use"),
        (["nothing.npy"], "no such file"),
        (["--json", "no/such/folder/x.json"], "no folder"),
    ],
)
def test_scaling_refuses_in_a_line(arguments, reason):
    done = run("scaling", *arguments)
    assert done.returncode == 2
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
