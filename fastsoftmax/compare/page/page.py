"""The page itself: HTML with its style, its pictures and one small script inside, and nothing from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from html import escape
from importlib.resources import files

from fastsoftmax.compare import report
from fastsoftmax.compare.contenders import contenders
from fastsoftmax.compare.page import charts
from fastsoftmax.compare.page.svg import NARROW, WIDE, Picture, style
from fastsoftmax.compare.results import Result, Row, Table
from fastsoftmax.compare.workloads import OPS

Cell = tuple[str, float | None, str]
"""What a cell shows, the number it is sorted by (None: by its text), and its classes."""


def document(result: Result, title: str = "softmax on this machine") -> str:
    """Return the page of a result.

    Parameters
    ----------
    result : Result
        What `fastsoftmax compare` found.
    title : str
        What the browser's tab says.

    Returns
    -------
    str
        HTML. It loads nothing: it can be mailed, archived, and opened without a network.
    """
    folder = files("fastsoftmax.compare.page")
    sections = [section for section in _sections(result) if section]
    links = "".join(f'<a href="#{key}">{escape(name)}</a>' for key, name, _ in sections)
    body = "".join(f'<section id="{key}"><h2>{escape(name)}</h2>{content}</section>' for key, name, content in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style()}{(folder / 'page.css').read_text('utf-8')}</style></head>"
        f"<body><main><header><h1>{escape(report.closing(result))}</h1>"
        f'<p class="soft">{escape(report.conditions(result))}. {escape(result.created)}.</p>{_interrupted(result)}'
        f"{_facts(result)}<nav>{links}</nav></header>{body}</main>"
        f"<script>{(folder / 'sort.js').read_text('utf-8')}</script></body></html>\n"
    )


def _sections(result: Result) -> Iterable[tuple[str, str, str] | None]:
    yield _pictures(
        "speed",
        "Speed against size",
        [partial(charts.speed_against_size, result, op) for op in OPS],
        "Both axes are logarithmic; higher is faster. The dashed line is the limit: copying the data (logsumexp: "
        "reading it) or e^x alone, whichever takes longer on this machine.",
    )
    yield _pictures("ratios", "Against SciPy and the best of the others", [partial(charts.ratios, result)], "")
    yield _pictures(
        "roofline",
        "How near to the limit",
        [partial(charts.roofline, result)],
        "A rung is limited by memory under the sloping roofs and by arithmetic under the flat one. Filled points: an "
        "input far larger than the cache; hollow ones: an input in the cache. Points above the roof of memory keep "
        "their rows in the cache from one pass to the next.",
    )
    yield _pictures(
        "error",
        "Error against scale",
        [partial(charts.error_against_scale, result, op) for op in OPS],
        "Errors against exact values. Subtracting the maximum rounds, and e^x multiplies that by the scale.",
    )
    if result.races:
        yield "summary", "All races", _summary(result)
        yield "details", "Every contender in every race", "".join(_race(table) for table in result.races)
    yield "conditions", "Machine, versions, contenders", _conditions(result)
    yield "reproduce", "Reproduce", _reproduce(result)


def _pictures(
    key: str, name: str, draw: Sequence[Callable[..., Picture | None]], caption: str
) -> tuple[str, str, str] | None:
    """Return a section of pictures, each for a page and once more for a phone; the style sheet shows one of the two."""
    figures = ""
    for chart in draw:
        wide, narrow = chart(width=WIDE), chart(width=NARROW)
        if wide is not None and narrow is not None:
            figures += (
                f'<figure><h3>{escape(wide.title)}</h3><div class="on-page">{wide.svg()}</div>'
                f'<div class="on-phone">{narrow.svg()}</div></figure>'
            )
    text = f'<p class="soft">{escape(caption)}</p>' if caption else ""
    return (key, name, text + figures) if figures else None


def _facts(result: Result) -> str:
    """Return the few figures that say most."""
    ours = [(table, row) for table in result.races if (row := table.row(charts.OURS)) and row.best_ns]
    scipy = [ratio for table, row in ours if (ratio := table.times_faster_than(report.BASELINE, row))]
    rivals = [(table, row, rival) for table, row in ours if (rival := report.best_other(table))]
    best = [ratio for table, row, rival in rivals if (ratio := table.times_faster_than(rival.contender, row))]
    errors = [row.max_ulp for _, row in ours if row.max_ulp is not None]
    facts = [
        (_mean(scipy), "times as fast as SciPy, geometric mean"),
        (_mean(best), "times as fast as the best of the others, geometric mean"),
        (f"{sum(ratio > 1 for ratio in best)} of {len(best)}" if best else "", "races won against all others"),
        (report.ulps(max(errors)) if errors else "", "ULP, the largest error of fastsoftmax auto"),
    ]
    return (
        '<dl class="facts">'
        + "".join(f"<div><dd>{value}</dd><dt>{escape(text)}</dt></div>" for value, text in facts if value)
        + "</dl>"
    )


def _mean(ratios: Sequence[float]) -> str:
    return f"{math.exp(sum(map(math.log, ratios)) / len(ratios)):.1f}" if ratios else ""


def _table(heads: Sequence[str], rows: Iterable[tuple[str, Sequence[Cell]]], words: int, caption: str) -> str:
    """Return a table that sorts by any column; its first columns hold words."""
    cells = "".join(
        f'<th scope="col"{_class("word" if k < words else "")}><button type="button">{escape(head)}</button></th>'
        for k, head in enumerate(heads)
    )
    body = "".join(
        f"<tr{_class(classes)}>"
        + "".join(
            f"<td{_class(('word ' if k < words else '') + how)}{_value(value)}>{escape(text)}</td>"
            for k, (text, value, how) in enumerate(row)
        )
        + "</tr>"
        for classes, row in rows
    )
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption><thead><tr>{cells}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _class(names: str) -> str:
    return f' class="{names.strip()}"' if names.strip() else ""


def _value(value: float | None) -> str:
    return "" if value is None else f' data-value="{value:.6g}"'


def _number(value: float | None, text: str, how: str = "") -> Cell:
    return text, math.nan if value is None else value, how


def _summary(result: Result) -> str:
    heads = (
        "input",
        "function",
        "fastest exact",
        "best other",
        "ns/element",
        "x SciPy",
        "x best other",
        "max ULP",
        "noise",
    )

    def rows() -> Iterable[tuple[str, Sequence[Cell]]]:
        for table in result.races:
            ours, rival, first = table.row(charts.OURS), report.best_other(table), table.fastest_exact()
            each = table.ns_per_element(ours) if ours else None
            scipy = table.times_faster_than(report.BASELINE, ours) if ours else None
            lead = table.times_faster_than(rival.contender, ours) if ours and rival else None
            yield (
                "",
                [
                    (table.workload, None, ""),
                    (table.op, None, ""),
                    (first.contender if first else "none", None, ""),
                    (rival.contender if rival else "-", None, ""),
                    _number(each, f"{each:.3f}" if each else "-"),
                    _number(scipy, f"{scipy:.2f}" if scipy else "-"),
                    _number(lead, f"{lead:.2f}" if lead else "-", "" if not lead else "won" if lead > 1 else "lost"),
                    _number(ours.max_ulp if ours else None, report.ulps(ours.max_ulp if ours else None)),
                    _number(table.noise, report.percent(table.noise)),
                ],
            )

    return _table(heads, rows(), 4, "Figures of fastsoftmax auto. Press a heading to sort.")


def _race(table: Table) -> str:
    """Return the table of one race, folded."""
    heads = (
        "contender", "verdict", "ns/element", "best", "median", "95 %", "reused", "cold", "of limit", "x SciPy",
        "max ULP", "mean ULP",
    )  # fmt: skip

    def time(ns: float | None) -> Cell:
        return _number(ns, report.duration(ns))

    def cells(row: Row) -> list[Cell]:
        each, share = table.ns_per_element(row), table.share_of_limit(row)
        ratio = table.times_faster_than(report.BASELINE, row)
        return [
            (row.contender, None, ""),
            (row.verdict, None, row.verdict),
            _number(each, f"{each:.3f}" if each else "-"),
            time(row.best_ns),
            time(row.median_ns),
            _number(row.median_high_ns, report.spread(row)),
            time(row.reused_ns),
            time(row.cold_ns),
            _number(share, report.percent(share)),
            _number(ratio, f"{ratio:.2f}" if ratio else "-"),
            _number(row.max_ulp, report.ulps(row.max_ulp)),
            _number(row.mean_ulp, report.ulps(row.mean_ulp)),
        ]

    rows = [("mine" if row.ours else "", cells(row)) for row in table.ranking]
    reasons = "".join(f"<p>{escape(f'{r.contender} {r.verdict}: {r.reason}')}</p>" for r in table.ranking if r.reason)
    shape = " x ".join(map(str, table.shape))
    caption = f"{shape} {table.dtype}, axis {table.axis}. {table.remark}"
    return (
        f"<details><summary><strong>{escape(f'{table.op}, {table.workload}')}</strong>"
        f'<span class="soft">{escape(report.sentence(table))}</span></summary>'
        f'<div>{_table(heads, rows, 2, caption)}<p class="soft">{escape(report.reliability(table))}</p>{reasons}</div>'
        "</details>"
    )


def _conditions(result: Result) -> str:
    machine = [("", [(key, None, ""), (str(value), None, "")]) for key, value in result.machine.items()]
    machine.append(("", [("threads each", None, ""), (str(result.threads), None, "")]))
    present = {row.contender for table in result.tables for row in table.rows}
    racers = [
        (
            "mine" if record.ours else "",
            [
                (record.name, None, ""),
                (f"{record.library} {result.versions.get(record.library, '')}".strip(), None, ""),
                (record.note, None, ""),
                (record.threads, None, ""),
                ("took part" if record.name in present else result.skipped.get(record.name, "did not"), None, ""),
            ],
        )
        for record in contenders()
        if record.name in present or record.name in result.skipped
    ]
    versions = [("", [(name, None, ""), (version, None, "")]) for name, version in result.versions.items()]
    return (
        _table(("machine", "value"), machine, 2, "The machine.")
        + _table(("library", "version"), versions, 2, "Versions.")
        + _table(("contender", "library", "what it is", "threads are held by", "here"), racers, 5, "The contenders.")
    )


def _reproduce(result: Result) -> str:
    versions = " ".join(
        f"{name}=={version.partition('+')[0]}" for name, version in result.versions.items() if name != "fastsoftmax"
    )
    command = f"fastsoftmax compare --threads {result.threads} --html report.html --json result.json"
    lines = f'pip install "fastsoftmax[bench,peers]" {versions}\n{command}'
    return (
        f"<pre>{escape(lines)}</pre><p>Every result is checked against exact values before it is timed. Contenders are "
        "timed in turn, lap by lap, in a new order each time, one process for all, pinned to as many CPUs as threads. "
        "Best is the fastest sample; the interval is that of the median, at 95 %. Reused: into a result that is there "
        "already. Cold: on inputs that are in no cache. Noise is how far a contender differs from itself.</p>"
    )


def _interrupted(result: Result) -> str:
    return "<p><strong>Interrupted: these are the results so far.</strong></p>" if result.interrupted else ""
