"""Compiled kernels on disk: found again by the next process, never trusted blindly.

Numba's own cache notices edits in one file only, keeps an index that two processes can garble, and unpickles whatever
it finds. Here an entry is one file, named by a digest of everything that decides its content: the package's sources,
Python, Numba, llvmlite, the CPU, the options and the signature. It begins with a digest of its name and data, and is
put in place by one rename. The folder belongs to the user alone (mode 0700). Whatever goes wrong, the kernel is
compiled again, in memory.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import compiler, config, serialize
from numba.core.runtime import rtsys

_DIGEST_BYTES = 32
_SUFFIX = ".kernel"
_ENTRY = re.compile(r"[0-9a-f]{40}\.kernel")
_LEFT_OVER = re.compile(r"[0-9a-f]{40}\.kernel\.\w+\.tmp")


def folder() -> Path:
    """Return the folder of compiled kernels: $FASTSOFTMAX_CACHE_DIR, else the user's cache folder.

    Returns
    -------
    pathlib.Path
        An absolute path; the folder need not exist.
    """
    chosen = os.environ.get("FASTSOFTMAX_CACHE_DIR")
    if chosen:
        return Path(chosen).absolute()
    try:
        home = Path.home()
    except RuntimeError:  # a user without one
        return Path(tempfile.gettempdir()).absolute() / f"fastsoftmax-{os.getuid()}"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return (base / "fastsoftmax").absolute()


def entries() -> list[Path]:
    """Return the compiled kernels: files that have names as only this module gives, in a folder of the user's own."""
    return _files_named(_ENTRY)


def clear() -> int:
    """Delete all compiled kernels, and what interrupted processes left of some; return how many kernels there were."""
    count = 0
    for path in [*entries(), *_files_named(_LEFT_OVER)]:
        with contextlib.suppress(OSError):  # another process may have been faster
            path.unlink()
            count += path.name.endswith(_SUFFIX)
    return count


def _files_named(pattern: re.Pattern[str]) -> list[Path]:
    try:
        if not is_private(folder()):
            return []
        with os.scandir(folder()) as files:
            names = [
                file.name for file in files if pattern.fullmatch(file.name) and file.is_file(follow_symlinks=False)
            ]
    except OSError:  # there is no such folder, or it cannot be read
        return []
    return sorted(folder() / name for name in names)


class DiskCache:
    """What a Numba dispatcher asks for compiled code; it stands in for Numba's own ``FunctionCache``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"

    @property
    def cache_path(self) -> str:
        """The folder, as text."""
        return str(folder())

    def enable(self) -> None:
        """Do nothing: the cache is always on."""

    def disable(self) -> None:
        """Do nothing: the cache is always on."""

    def flush(self) -> None:
        """Do nothing: an entry is never stale."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function for a signature, None if there is no good entry."""
        rtsys.initialize(target_context)  # what allocates arrays; a refresh of the context takes 0.2 s more
        try:
            payload = _read(self._entry(sig, target_context.codegen()))
            return None if payload is None else compiler.CompileResult._rebuild(target_context, *payload)
        except Exception:  # a broken entry must never be worse than none
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function, if that can be done."""
        with contextlib.suppress(Exception):
            _write(self._entry(sig, data.codegen), serialize.dumps(data._reduce()))

    def _entry(self, sig: Any, codegen: Any) -> Path:
        parts = (_environment(), codegen.magic_tuple(), self._name, str(sig))
        return folder() / (hashlib.sha256(repr(parts).encode()).hexdigest()[:40] + _SUFFIX)


@functools.cache
def _environment() -> tuple[object, ...]:
    """Return what, beside the signature and the CPU, decides the machine code."""
    optimised = (config.OPT, config.LOOP_VECTORIZE, config.SLP_VECTORIZE)
    options = (*optimised, config.DEBUGINFO_DEFAULT, config.BOUNDSCHECK)
    return sys.version, numba.__version__, llvmlite.__version__, options, _sources_digest()


def _sources_digest() -> str:
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for source in sorted([*package.glob("*.py"), *package.glob("kernels/*.py"), *package.glob("simd/*.py")]):
        digest.update(source.relative_to(package).as_posix().encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()


def is_private(path: Path) -> bool:
    """Tell whether only this user can write to a folder: entries are unpickled, so others must not."""
    if sys.platform == "win32":
        return True
    status = path.lstat()
    mine = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return mine and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _read(path: Path) -> Any:
    if not is_private(path.parent):
        return None
    content = path.read_bytes()
    digest, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return pickle.loads(data) if digest == _digest(path, data) else None


def _digest(path: Path, data: bytes) -> bytes:
    """Return the digest that goes before the data: of the name, too, so that no entry passes for another."""
    return hashlib.sha256(path.name.encode() + b"\0" + data).digest()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_private(path.parent):
        return
    with _replacing(path) as file:
        file.write(_digest(path, data) + data)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Any]:
    """Open a temporary file beside `path` and rename it into place when all is written."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
