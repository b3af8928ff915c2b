"""The README's tables in Markdown: speed and accuracy from a saved result, the ladder from its records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import fastsoftmax
from fastsoftmax.compare import scaling
from fastsoftmax.compare.page import charts
from fastsoftmax.compare.page.svg import Picture
from fastsoftmax.compare.report import BASELINE, best_other, conditions, duration, percent, spread, ulps
from fastsoftmax.compare.results import Result, Row, Table
from fastsoftmax.compare.survey import worst

OURS = "fastsoftmax auto"


def speed_table(result: Result) -> str:
    """Return ns per element of `OURS` and every peer, a row a race; the fastest is bold, lost races included.

    Parameters
    ----------
    result : Result
        A saved comparison, from `Result.load`.

    Returns
    -------
    str
        A Markdown table and one line on where it was measured. ``x best peer`` is the time of the fastest
        peer over ours: below 1, we lose. ``of limit`` is the time of what no way can do without, over ours. A wrong
        result has no time, it says so.
    """
    names = _columns(result)

    def cells(table: Table) -> list[str]:
        times = {name: _time(table, table.row(name)) for name in names}
        fastest = min((value for value in times.values() if value is not None), default=None)
        texts = [_speed(table.row(name), times[name], fastest) for name in names]
        ours = table.row(OURS)
        return [
            *texts,
            *_leads(table),
            percent(table.share_of_limit(ours) if ours else None),
        ]

    return _races(result, [*names, "x SciPy", "x best peer", "of limit"], cells)


def lead_table(result: Result) -> str:
    """Return ns per element of `OURS` and of the fastest peer, a row a race.

    Parameters
    ----------
    result : Result
        A saved comparison, from `Result.load`.

    Returns
    -------
    str
        A Markdown table and one line on where it was measured.
    """

    def cells(table: Table) -> list[str]:
        ours, rival = table.row(OURS), best_other(table)
        times = [_time(table, row) for row in (ours, rival)]
        return [
            *("-" if each is None else f"{each:.2f}" for each in times),
            rival.contender if rival else "-",
            *_leads(table),
        ]

    return _races(result, [OURS, "best other", "which", "x SciPy", "x best other"], cells)


def accuracy_table(result: Result) -> str:
    """Return the maximal error in ULP of `OURS` and every peer, a row a race; exact ones are bold.

    Parameters
    ----------
    result : Result
        A saved comparison, from `Result.load`.

    Returns
    -------
    str
        A Markdown table and one line on where it was measured.
    """
    names = _columns(result)
    return _races(result, names, lambda table: [_error(table.row(name)) for name in names])


def pictures(result: Result) -> dict[str, Picture]:
    """Return the pictures that the result has the figures for, by their file names."""
    drawn = {
        "ratios.svg": charts.ratios(result),
        "speed.svg": charts.speed_against_size(result, "softmax"),
    }
    return {name: picture for name, picture in drawn.items() if picture is not None}


def picture_links(result: Result, names: Sequence[str], folder: str) -> str:
    """Return Markdown that shows those pictures, of the names given, that there are, with text alternatives."""
    drawn = pictures(result)
    links = (f"![{drawn[name].title}. {drawn[name].description}]({folder}/{name})" for name in names if name in drawn)
    return "\n\n".join(links)


def race_table(table: Table) -> str:
    """Return all that is known of every contender in one race, best first."""
    heads = ("contender", "verdict", "best", "median", "95 %", "reused", "cold", "of limit", "x SciPy", "max ULP")
    lines = [
        (
            f"**{row.contender}**" if row.ours else row.contender,
            row.verdict,
            duration(row.best_ns),
            duration(row.median_ns),
            spread(row),
            duration(row.reused_ns),
            duration(row.cold_ns),
            percent(table.share_of_limit(row)),
            _ratio(table, BASELINE, row),
            ulps(row.max_ulp),
        )
        for row in table.ranking
    ]
    return _markdown(heads, lines, left=2)


def error_table(survey: Result) -> str:
    """Return the largest error in ULP of every contender over all rows of a survey; exact ones are bold.

    Parameters
    ----------
    survey : Result
        A saved survey of errors, from `Result.load`.

    Returns
    -------
    str
        A Markdown table with a column for each function and type, and one line on where it was measured.
    """
    kinds = list(dict.fromkeys((table.op, table.dtype) for table in survey.tables))
    names = list(dict.fromkeys(row.contender for table in survey.tables for row in table.rows))
    lines = [[name, *(_error(worst(survey, name, op, dtype)) for op, dtype in kinds)] for name in names]
    heads = ("contender", *(f"{op} {dtype}" for op, dtype in kinds))
    return f"{_markdown(heads, lines, left=1)}\n\n{conditions(survey)}."


def proof_list(path: str) -> str:
    """Return what `fastsoftmax prove --json` found, an item a type."""
    items = []
    for found in json.loads(Path(path).read_text("utf-8")):
        item = (
            f"- {found['dtype']}, {found['tried']:,} arguments ({found['arguments']}): {found['worst_ulp']:.4f} ULP at "
            f"most; as the two parts that sums are made of, 2^{found['parts_bits']:.1f}."
        )
        if found["falls"] is not None:
            item += f" Of these neighbours x < y, {found['falls']} have e^x > e^y, by one ULP."
        items.append(item)
    return "\n".join(items)


def scaling_table(path: str) -> str:
    """Return what `fastsoftmax scaling --json` found: our ns per element with each number of threads.

    Parameters
    ----------
    path : str
        The saved results.

    Returns
    -------
    str
        A Markdown table and one line on where it was measured.
    """
    results = scaling.load(path)
    heads, lines = scaling.lines(results)
    lines = [[name, f"`{op}`", *rest] for name, op, *rest in lines]
    return f"{_markdown(heads, lines, left=2)}\n\n{conditions(results[-1])}."


def ladder_table() -> str:
    """Return the ladder, a row a rung, from `fastsoftmax.methods`."""
    heads = ("rung", "idea", "e^x", "reads + writes", "safe", "error bound", "source")
    lines = [
        (
            f"`{rung.name}`",
            rung.note,
            str(rung.exps),
            rung.passes,
            "yes" if rung.stable else "**no**",
            rung.bound,
            rung.source,
        )
        for rung in fastsoftmax.methods()
    ]
    return _markdown(heads, lines, left=2)


def _columns(result: Result) -> list[str]:
    """Return our default first, then the peers in the order of the result."""
    peers = (row.contender for table in result.races for row in table.rows if not row.ours)
    return [OURS, *dict.fromkeys(peers)]


def _races(result: Result, heads: Sequence[str], cells: Callable[[Table], list[str]]) -> str:
    """Return a table with a row a race, and the conditions below it."""
    lines = [[table.workload, f"`{table.op}`", *cells(table)] for table in result.races]
    return f"{_markdown(('input', 'function', *heads), lines, left=2)}\n\n{conditions(result)}."


def _leads(table: Table) -> list[str]:
    """Return how many times as fast as SciPy and as the fastest peer `OURS` is."""
    ours, rival = table.row(OURS), best_other(table)
    return [_ratio(table, name, ours) for name in (BASELINE, rival.contender if rival else "")]


def _time(table: Table, row: Row | None) -> float | None:
    """Return ns per element of a row that counts; None for one that is missing or wrong."""
    return None if row is None or row.verdict == "wrong" else table.ns_per_element(row)


def _speed(row: Row | None, each: float | None, fastest: float | None) -> str:
    """Return a cell of the speed table."""
    if each is None:
        return row.verdict if row is not None else "-"
    text = f"{each:.2f}"
    return f"**{text}**" if each == fastest else text


def _error(row: Row | None) -> str:
    """Return a cell of the accuracy table."""
    if row is None:
        return "-"
    if row.max_ulp is None:
        return row.verdict
    text = f"wrong ({ulps(row.max_ulp)})" if row.verdict == "wrong" else ulps(row.max_ulp)
    return f"**{text}**" if row.exact else text


def _ratio(table: Table, rival: str, ours: Row | None) -> str:
    """Return how many times as fast as the rival we are."""
    ratio = table.times_faster_than(rival, ours) if ours is not None else None
    return f"{ratio:.2f}" if ratio is not None else "-"


def _markdown(heads: Sequence[str], lines: Iterable[Sequence[str]], left: int) -> str:
    """Return a Markdown table whose first ``left`` columns are aligned left and the others right."""
    rule = ["---"] * left + ["---:"] * (len(heads) - left)
    rows = [heads, rule, *([cell.replace("|", "\\|") for cell in line] for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
