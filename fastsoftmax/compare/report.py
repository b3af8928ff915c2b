"""The comparison on the terminal: a table a race, best first, and a closing sentence."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from fastsoftmax.compare.contender import Contender
from fastsoftmax.compare.results import Result, Row, Table
from fastsoftmax.compare.workloads import OPS

BASELINE = "scipy"
STYLE = {"exact": "green", "inexact": "yellow", "wrong": "bold red", "failed": "bold red"}
LOOK: Any = {
    "box": SIMPLE_HEAD,
    "collapse_padding": True,
    "pad_edge": False,
    "title_justify": "left",
    "title_style": "bold",
    "caption_justify": "left",
    "caption_style": "dim",
}
UNSTEADY = 0.1
"""A machine that changes its pace by more than this is mentioned."""
_WIDTH = 132  # where the output is no terminal


def plain_console(width: int = _WIDTH) -> Console:
    """Return a console as wide as the terminal, of a given width where there is none."""
    return Console(width=None if sys.stdout.isatty() else width, highlight=False)


def show(result: Result, console: Console | None = None) -> None:
    """Print the whole result."""
    console = console or plain_console()

    def say(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=True)

    for table in result.races:
        console.print()
        console.print(_race(table))
        if table.remark:
            say(table.remark, "dim")
        for row in table.ranking:
            if row.reason:
                say(f"{row.contender} {row.verdict}: {row.reason}")
        say(sentence(table))
        if text := reliability(table):
            say(text, "dim")
    console.print()
    if len(result.races) > 1:
        console.print(_summary(result))
    say(conditions(result), "dim")
    for contender, why in result.skipped.items():
        say(f"{contender} was skipped: {why}", "dim")
    if result.interrupted:
        say("Interrupted: these are the results so far.", "bold yellow")
    say(closing(result), "bold")


def show_contenders(candidates: Sequence[Contender], skipped: dict[str, str], console: Console | None = None) -> None:
    """Print the records of the contenders, absent ones with the reason."""
    console = console or plain_console()
    grid = RichTable(**LOOK)
    for heading in ("contender", "library", "what it is", "threads", "functions"):
        grid.add_column(heading, no_wrap=heading == "contender")
    for contender in candidates:
        if contender.name in skipped:
            grid.add_row(contender.name, contender.library, escape(skipped[contender.name]), "-", "-", style="dim")
            continue
        library = f"{contender.library} {contender.version}"
        functions = "all" if contender.ops == OPS else ", ".join(contender.ops)
        grid.add_row(contender.name, library, escape(contender.note), contender.threads, functions)
    console.print(grid)


def sentence(table: Table) -> str:
    """Name the fastest exact contender of a table."""
    best = table.fastest_exact()
    if best is None:
        timed = any(row.best_ns is not None for row in table.rows)
        return "None is exact here." if timed else "Nothing was timed."
    text = f"Fastest exact: {best.contender}, {duration(best.best_ns)}"
    ratio = table.times_faster_than(BASELINE, best)
    return f"{text}, {ratio:.1f} times as fast as SciPy." if ratio else f"{text}."


def reliability(table: Table) -> str:
    """Say what limits the race, how noisy it was, and whether the machine kept its pace; nothing of an old result."""
    parts = []
    if table.limits is not None:
        limit = table.limits
        moved, ns = ("read", limit.read_ns) if table.op == "logsumexp" else ("copy", limit.copy_ns)
        parts.append(f"Limit: {duration(limit.of(table.op))} ({moved} {duration(ns)}, e^x {duration(limit.exp_ns)})")
    if table.noise is not None:
        parts.append(f"noise {percent(table.noise)}: ratios nearer to 1 mean nothing")
    if table.wobble is not None and table.wobble > UNSTEADY:
        parts.append(f"the machine changed its pace by {percent(table.wobble)}")
    return "; ".join(parts) + "." if parts else ""


def spread(row: Row) -> str:
    """Write the interval of the median as a percentage on both sides."""
    if row.median_ns is None or row.median_low_ns is None or row.median_high_ns is None:
        return "-"
    low, high = (100 * (end / row.median_ns - 1) for end in (row.median_low_ns, row.median_high_ns))
    return f"{low:+.0f} {high:+.0f} %"


def percent(share: float | None) -> str:
    """Write a share of 1 as a percentage."""
    if share is None or math.isnan(share):
        return "-"
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def closing(result: Result) -> str:
    """Name the contender that is the fastest exact one most often, and by how much it beats SciPy."""
    winners = [(table, best) for table in result.races if (best := table.fastest_exact())]
    if not winners:
        return "No contender was both timed and exact."
    name, wins = Counter(best.contender for _, best in winners).most_common(1)[0]
    text = f"Fastest exact contender: {name}"
    if len(winners) > 1:
        text += f", in {wins} of {len(winners)} tables"
    ratios = [
        ratio for table, _ in winners if (row := table.row(name)) and (ratio := table.times_faster_than(BASELINE, row))
    ]
    if not ratios or name == BASELINE:
        return f"{text}."
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    return f"{text}; {mean:.1f} times as fast as SciPy" + (" in the geometric mean." if ratios[1:] else ".")


def conditions(result: Result) -> str:
    """Say on what all this was measured."""
    versions = ", ".join(f"{library} {version}" for library, version in result.versions.items())
    threads = "1 thread" if result.threads == 1 else f"{result.threads} threads"
    return f"{result.machine['cpu']}, {threads} each; {result.machine['python']}; {versions}"


def duration(ns: float | None) -> str:
    """Write a time with a unit that suits it."""
    if ns is None:
        return "-"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{_three_digits(ns / size)} {unit}"
    return f"{_three_digits(ns)} ns"


def ulps(value: float | None) -> str:
    """Write an error in ULP."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.2f}" if value < 1000 else f"{value:.1e}".replace("e+0", "e").replace("e+", "e")


def _race(table: Table) -> RichTable:
    """Return the table of one race."""
    shape = " x ".join(map(str, table.shape))
    title = f"{table.workload}: {table.op}"
    if not table.workload.startswith(shape):
        title += f" of {shape} {table.dtype}, axis {table.axis}"
    grid = RichTable(title=escape(title), **LOOK)
    grid.add_column("* fastsoftmax", no_wrap=True)
    for heading in (
        "ns/element", "best", "median", "95 %", "reused", "cold", "GB/s", "of limit", "x SciPy", "max ULP",
    ):  # fmt: skip
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.add_column("verdict")
    for row in table.ranking:
        grid.add_row(*_cells(table, row), style="bold" if row.ours else "")
    return grid


def _cells(table: Table, row: Row) -> list[str | Text]:
    """Return what one row shows."""
    each = table.ns_per_element(row)
    ratio = table.times_faster_than(BASELINE, row)
    return [
        _name(row),
        f"{each:.3f}" if each is not None else "-",
        duration(row.best_ns),
        duration(row.median_ns),
        spread(row),
        duration(row.reused_ns),
        duration(row.cold_ns),
        f"{table.bytes_moved / row.best_ns:.1f}" if row.best_ns is not None else "-",
        percent(table.share_of_limit(row)),
        f"{ratio:.2f}" if ratio else "-",
        ulps(row.max_ulp),
        Text(row.verdict, style=STYLE.get(row.verdict, "")),
    ]


def _name(row: Row) -> str:
    """Return a contender's name as the tables show it, ours marked."""
    return "* " + row.contender.removeprefix("fastsoftmax ") if row.ours else "  " + row.contender


def _summary(result: Result) -> RichTable:
    """Return one line a table: who won, and how our default did against the best of the others."""
    grid = RichTable(title="All tables", **LOOK)
    grid.add_column("input")
    for heading in ("function", "fastest exact"):
        grid.add_column(heading, no_wrap=True)
    for heading in ("x SciPy", "best other", "auto"):
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.caption = "auto: how many times as fast as the best other one fastsoftmax auto is"
    for table in result.races:
        best, rival, auto = table.fastest_exact(), best_other(table), table.row("fastsoftmax auto")
        ratio = table.times_faster_than(BASELINE, best) if best else None
        lead = table.times_faster_than(rival.contender, auto) if rival and auto else None
        grid.add_row(
            escape(table.workload),
            table.op,
            _name(best) if best else "none",
            f"{ratio:.2f}" if ratio else "-",
            rival.contender if rival else "-",
            f"{lead:.2f}" if lead else "-",
        )
    return grid


def best_other(table: Table) -> Row | None:
    """Return the fastest contender that is not ours and not wrong, exact or not."""
    others = (row for row in table.ranking if not row.ours and row.verdict != "wrong")
    return next((row for row in others if row.best_ns is not None), None)


def _three_digits(value: float) -> str:
    """Write a number with three digits and no exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
