"""Make what the README shows of saved results: its tables, and its pictures in benchmarks/results.

``python tools/readme.py`` writes them; ``python tools/readme.py --check`` only says whether they are fresh, with
exit status 1 where they are not. Both read the results in benchmarks/results. The picture of errors, accuracy.svg, is
matplotlib's, whose versions draw a little differently: it is written, but not checked.
"""

import argparse
import sys
from pathlib import Path

from cogapp import Cog

from fastsoftmax.compare import error_plot, readme
from fastsoftmax.compare.results import Result

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def main(arguments: list[str] | None = None) -> int:
    """Write or check everything; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where something is not fresh")
    check = parser.parse_args(arguments).check

    stale = []
    for name, picture in readme.pictures(Result.load(RESULTS / "compare.json")).items():
        path, text = RESULTS / name, picture.svg(alone=True) + "\n"
        if not path.exists() or path.read_text("utf-8") != text:
            stale.append(path.relative_to(ROOT))
            if not check:
                path.write_text(text, "utf-8")
    if not check:
        error_plot.draw(Result.load(RESULTS / "accuracy.json"), RESULTS / "accuracy.svg")
    cog = ["cog", "--check", "--diff"] if check else ["cog", "-r"]
    status = Cog().main([*cog, str(ROOT / "README.md")])
    for path in stale:
        print(f"{path} {'is not fresh: run python tools/readme.py' if check else 'written'}")
    return int(status) or (1 if check and stale else 0)


if __name__ == "__main__":
    sys.exit(main())
