"""The guide to a new rung: its example is a kernel that works, its commands and files exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fastsoftmax import cli, ladder

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "new-rung.md").read_text("utf-8")
KERNEL, RECORD, WAY = re.findall(r"^```python\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)
COMMANDS = "".join(re.findall(r"^```sh\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)).splitlines()
FILES = set(re.findall(r"`([\w./]+/[\w./]*)`", GUIDE)) - {"fastsoftmax/kernels/compensated.py"}

TRY = """
import numpy as np
from fastsoftmax.kernels import compensated
from fastsoftmax.compare import exact

x = 3 * np.random.default_rng(0).standard_normal((5, 777)).astype(np.float32)
for op in ("softmax", "log_softmax", "logsumexp"):
    true = getattr(exact, op)(x, -1)
    out = np.zeros(true.shape, np.float32)
    kernel = getattr(compensated, op + "_rows")[x.dtype]
    kernel(x.ravel(), 0, 777, out.ravel(), 0, 1 if out.ndim == 1 else 777, 0, 5, 777, 0, 1.0)
    np.testing.assert_allclose(out, true, rtol=2e-5)
"""


def test_the_kernel_works_as_it_stands(tmp_path):
    (tmp_path / "compensated.py").write_text(KERNEL)
    code = f"import fastsoftmax.kernels as k; k.__path__.append({str(tmp_path)!r})\n{TRY}"
    fresh = os.environ | {
        "FASTSOFTMAX_CACHE_DIR": str(tmp_path / "kernels")
    }  # what is kept knows the package's edits only
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, env=fresh)


def test_the_record_is_a_record():
    names = {"compensated": None} | vars(ladder)
    (rung,) = eval(f"({RECORD})", names)
    assert rung.name == "compensated"
    assert list(eval(f"{{{WAY}}}", names)) == [rung.name]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_exist(line):
    words = shlex.split(line)
    if words[0] == "fastsoftmax":
        assert callable(cli.parser().parse_args(words[1:]).run)
    else:
        paths = [word for word in words[1:] if "/" in word]
        assert paths
        assert all((ROOT / path).exists() for path in paths)


@pytest.mark.parametrize("path", sorted(FILES))
def test_the_files_exist(path):
    assert (ROOT / path).exists()
