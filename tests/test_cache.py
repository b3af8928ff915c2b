"""Compiled kernels on disk: found by the next process, never trusted blindly, never in the way."""

import json
import os
import pickle
import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import PACKAGE, output_of, start_python

from fastsoftmax import cache

WORK = [
    ("softmax", "float32"),
    ("softmax", "float64"),
    ("log_softmax", "float32"),
    ("logsumexp", "float32"),
]
# Calls a small kernel for each, checks what it gives, and prints the names of those that had to be compiled.
USE = f"""
import json
import numpy as np
from numba.core import event
import fastsoftmax
from fastsoftmax.cache import DiskCache

x = np.random.default_rng(0).normal(0, 5, (3, 40)).astype(np.float32)
e = np.exp(x.astype(float))
total = e.sum(axis=1, keepdims=True)
true = {{"softmax": e / total, "log_softmax": np.log(e / total), "logsumexp": np.log(total[:, 0])}}
with event.install_recorder("numba:compile") as recorder:
    for op, dtype in {WORK}:
        got = getattr(fastsoftmax, op)(x.astype(dtype), 1, method="naive")
        assert got.dtype == dtype
        np.testing.assert_allclose(got, true[op], rtol=1e-5 if dtype == "float32" else 1e-13)
dispatchers = [e.data["dispatcher"] for _, e in recorder.buffer if e.is_start]
print(json.dumps([d.py_func.__name__ for d in dispatchers if isinstance(d._cache, DiskCache)]))
"""
ALL = len(WORK)
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")


def start(folder, before="", *, package=PACKAGE, env=()):
    """Start a process that uses the kernels."""
    env = {"FASTSOFTMAX_CACHE_DIR": None if folder is None else str(folder), **dict(env)}
    return start_python(before + USE, env=env, package=package)


def compiled_by(process):
    """How many kernels a process compiled, once it has ended well."""
    return len(json.loads(output_of(process).splitlines()[-1]))


def use(folder, before="", **options):
    """Use the kernels in a new process; return how many it compiled."""
    return compiled_by(start(folder, before, **options))


def entries(folder):
    return sorted(Path(folder).glob("*.kernel"))


def state(folder):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path(folder).iterdir()}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder as the first process leaves it; not to be changed."""
    folder = tmp_path_factory.mktemp("cache") / "of" / "kernels"
    assert use(folder) == ALL
    return folder


@pytest.fixture
def filled(first, tmp_path):
    """A copy of that folder."""
    return Path(shutil.copytree(first, tmp_path / "kernels"))


# -- kept and found -----------------------------------------------------------------------------------------


def test_one_entry_a_kernel_and_type_and_nothing_else(first):
    assert len(entries(first)) == len(list(first.iterdir())) == ALL


@needs_posix
def test_the_folder_and_its_files_are_the_users_alone(tmp_path):
    folder = tmp_path / "new" / "kernels"
    use(folder, "import os; os.umask(0)")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_the_next_process_compiles_nothing_and_writes_nothing(filled):
    before = state(filled)
    assert use(filled) == 0
    assert state(filled) == before


def test_one_missing_entry_is_compiled_alone(filled):
    before = state(filled)
    entries(filled)[3].unlink()
    assert use(filled) == 1
    assert state(filled).keys() == before.keys()


def test_a_folder_is_found_by_a_relative_path_and_in_the_users_cache(filled, tmp_path):
    relative = os.path.relpath(filled, PACKAGE.parent)
    assert use(relative) == 0
    if sys.platform.startswith("linux"):
        filled.rename(tmp_path / "fastsoftmax")
        assert use(None, env={"XDG_CACHE_HOME": str(tmp_path)}) == 0
        home = tmp_path / "home"
        (home / ".cache").mkdir(parents=True)
        (tmp_path / "fastsoftmax").rename(home / ".cache" / "fastsoftmax")
        assert use(None, env={"XDG_CACHE_HOME": None, "HOME": str(home)}) == 0


def test_several_processes_at_once(tmp_path):
    folder = tmp_path / "kernels"
    for process in [start(folder) for _ in range(6)]:
        assert compiled_by(process) <= ALL
    assert len(entries(folder)) == len(list(folder.iterdir())) == ALL
    assert use(folder) == 0


def test_clear(filled, monkeypatch):
    monkeypatch.setenv("FASTSOFTMAX_CACHE_DIR", str(filled))
    name = entries(filled)[0].name
    (filled / (name + ".a1_b2.tmp")).write_bytes(b"left by a process that was killed")
    strange = [filled / n for n in ("note.txt", "my.kernel", "x" + name, name + ".tmp", name.upper())]
    for path in strange:
        path.write_text("not ours")
    folder, link = filled / ("0" * 40 + ".kernel"), filled / ("1" * 40 + ".kernel")
    folder.mkdir()
    link.symlink_to(strange[0])
    assert len(cache.entries()) == ALL
    assert cache.clear() == ALL
    assert sorted(filled.iterdir()) == sorted([*strange, folder, link])
    assert cache.clear() == 0
    monkeypatch.setenv("FASTSOFTMAX_CACHE_DIR", str(filled / "missing"))
    assert cache.clear() == 0


def run_command(*arguments, **env):
    return subprocess.run(
        [sys.executable, "-m", "fastsoftmax", *arguments], env={**os.environ, **env}, capture_output=True, text=True
    )


def test_the_command_shows_and_clears(filled, tmp_path):
    env = {"FASTSOFTMAX_CACHE_DIR": str(filled)}
    (filled / "note.txt").write_text("not ours")
    size = sum(path.stat().st_size for path in entries(filled)) / 1e6
    assert str(filled) in run_command("info", **env).stdout
    assert run_command("cache", **env).stdout == f"{filled}: {ALL} kernels, {size:.1f} MB\n"
    assert len(entries(filled)) == ALL
    assert run_command("cache", "--clear", **env).stdout == f"{filled}: {ALL} of {ALL} kernels deleted, {size:.1f} MB\n"
    assert [path.name for path in filled.iterdir()] == ["note.txt"]
    missing = tmp_path / "missing"
    done = run_command("cache", "--clear", FASTSOFTMAX_CACHE_DIR=str(missing))
    assert (done.returncode, done.stdout) == (0, f"{missing}: 0 of 0 kernels deleted, 0.0 MB\n")
    assert not missing.exists()


@needs_posix
def test_a_folder_that_is_not_ours_is_not_cleared(filled, tmp_path):
    before = state(filled)
    filled.chmod(0o777)
    link = tmp_path / "link"
    link.symlink_to(filled, target_is_directory=True)
    for folder in (filled, link, entries(filled)[0]):
        for arguments in ((), ("--clear",)):
            done = run_command("cache", *arguments, FASTSOFTMAX_CACHE_DIR=str(folder))
            assert (done.returncode, done.stdout) == (2, "")
            assert (
                done.stderr == f"fastsoftmax: {folder} is not used: it is no folder that only this user may write to\n"
            )
        assert state(filled) == before


# -- the key ------------------------------------------------------------------------------------------------


def test_an_edited_source_file_is_compiled_anew(tmp_path):
    package = Path(shutil.copytree(PACKAGE, tmp_path / "fastsoftmax", ignore=shutil.ignore_patterns("__pycache__")))
    folder = tmp_path / "kernels"
    check = f"import fastsoftmax; assert fastsoftmax.__file__.startswith({str(tmp_path)!r})\n"
    assert use(folder, check, package=package) == ALL
    for n, source in enumerate(("kernels/exponential.py", "simd/bits.py"), 1):
        assert use(folder, check, package=package) == 0
        with open(package / source, "a") as file:
            file.write("# a comment\n")
        assert use(folder, check, package=package) == ALL
        assert len(entries(folder)) == (n + 1) * ALL


@pytest.mark.parametrize("variable", ["NUMBA_CPU_NAME", "NUMBA_OPT", "NUMBA_BOUNDSCHECK"])
def test_another_cpu_or_level_of_optimisation_is_another_entry(filled, variable):
    value = "generic" if variable == "NUMBA_CPU_NAME" else "1" if os.environ.get(variable) != "1" else "0"
    env = {variable: value}.items()
    assert use(filled, env=env) == ALL
    assert use(filled, env=env) == 0
    assert use(filled) == 0


# -- broken entries -----------------------------------------------------------------------------------------


def _flipped(content, position):
    return content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]


def _rewrite(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


def _sign(data):
    return lambda path: cache._write(path, data)  # with a digest that is right


DAMAGE = {
    "empty": _rewrite(lambda content: b""),
    "cut in the digest": _rewrite(lambda content: content[:7]),
    "cut behind the digest": _rewrite(lambda content: content[:32]),
    "cut in the middle": _rewrite(lambda content: content[: len(content) // 2]),
    "garbage": _rewrite(lambda content: random.Random(0).randbytes(len(content))),
    "a bit of the digest": _rewrite(lambda content: _flipped(content, 3)),
    "a bit in the middle": _rewrite(lambda content: _flipped(content, len(content) // 2)),
    "the last bit": _rewrite(lambda content: _flipped(content, len(content) - 1)),
    "longer": _rewrite(lambda content: content + b"\0"),
    "no pickle": _sign(b"no pickle"),
    "a pickled number": _sign(pickle.dumps(42)),
    "a pickled None": _sign(pickle.dumps(None)),
    "a pickle of another shape": _sign(pickle.dumps((1, 2, 3))),
    "a pickle of what is not there": _sign(b"cno_such_module\nno_such_name\n."),
}


def test_broken_entries_are_compiled_anew_and_replaced(filled):
    kinds = list(DAMAGE.items())
    while kinds:  # each entry is broken in a way of its own
        broken = dict(zip(entries(filled), kinds[:ALL], strict=False))
        kinds = kinds[ALL:]
        for path, (_, damage) in broken.items():
            damage(path)
        assert use(filled) == len(broken), [name for name, _ in broken.values()]
    assert use(filled) == 0


def test_an_unreadable_entry_is_no_obstacle(filled):
    path = entries(filled)[0]
    path.unlink()
    path.mkdir()
    assert use(filled) == 1
    assert path.is_dir()
    assert len(entries(filled)) == len(list(filled.iterdir())) == ALL


def test_entries_in_each_others_place_are_not_taken(filled):
    paths = entries(filled)
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)
    assert use(filled) == ALL
    assert use(filled) == 0


# -- folders that must not be used, or cannot be ------------------------------------------------------------


class _Opens:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def planted(filled, tmp_path):
    """A folder of entries, good but for what they do when they are unpickled; and the file that it makes."""
    mark = tmp_path / "mark"
    for path in entries(filled):
        cache._write(path, pickle.dumps(_Opens(str(mark))))
    return filled, mark


@needs_posix
def test_what_is_planted_in_a_private_folder_is_run(planted):
    # the danger is real: else the tests below would show nothing
    folder, mark = planted
    use(folder)
    assert mark.exists()


@needs_posix
@pytest.mark.parametrize("mode", [0o1777, 0o720, 0o702])
def test_a_folder_that_others_may_write_is_not_used(planted, mode):
    folder, mark = planted
    folder.chmod(mode)
    before = state(folder)
    assert use(folder) == ALL
    assert state(folder) == before
    assert not mark.exists()
    assert stat.S_IMODE(folder.stat().st_mode) == mode


@needs_posix
def test_a_folder_of_someone_else_is_not_used(planted):
    folder, mark = planted
    before = state(folder)
    assert use(folder, "import os; os.getuid = lambda: 123456") == ALL
    assert state(folder) == before
    assert not mark.exists()


@needs_posix
def test_a_link_in_its_place_is_not_followed(planted, tmp_path):
    folder, mark = planted
    link = tmp_path / "link"
    link.symlink_to(folder, target_is_directory=True)
    assert use(link) == ALL
    assert not mark.exists()


@needs_posix
def test_a_folder_that_others_may_read_is_used(filled):
    filled.chmod(0o755)
    assert use(filled) == 0


@needs_posix
def test_a_read_only_folder_is_read(filled):
    entries(filled)[0].unlink()
    filled.chmod(0o500)
    try:
        assert use(filled) == 1
        if os.getuid() != 0:  # to root nothing is read-only
            assert len(entries(filled)) == ALL - 1
    finally:
        filled.chmod(0o700)


def test_a_full_disk(tmp_path):
    folder = tmp_path / "kernels"
    full = "import os\ndef fail(*a): raise OSError(28, 'No space left on device')\nos.fdopen = fail\n"
    assert use(folder, full) == ALL
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("place", ["a file", "under a file", "too long", "/proc/no/where"])
def test_an_impossible_folder(place, tmp_path):
    file = tmp_path / "file"
    file.write_text("a file")
    folders = {"a file": file, "under a file": file / "kernels", "too long": tmp_path / ("x" * 5000)}
    folder = folders.get(place, place)
    assert use(folder) == ALL
    assert file.read_text() == "a file"


@needs_posix
def test_no_home(tmp_path):
    nowhere = "import pwd\ndef getpwuid(uid): raise KeyError(uid)\npwd.getpwuid = getpwuid\n"
    env = {"HOME": None, "XDG_CACHE_HOME": None, "TMPDIR": str(tmp_path)}
    assert use(None, nowhere, env=env.items()) == ALL
    rest = "import fastsoftmax.cache; fastsoftmax.show_config(); assert fastsoftmax.cache.clear() > 0"
    output_of(start_python(nowhere + rest, env=env | {"FASTSOFTMAX_CACHE_DIR": None}))
