"""What the page draws: each picture from a result, None where the result does not hold what it needs."""

from __future__ import annotations

from fastsoftmax.compare.accuracy import EXACT_ULP
from fastsoftmax.compare.page.svg import WIDE, Axis, Picture, css_class, number
from fastsoftmax.compare.report import BASELINE, best_other, duration, ulps
from fastsoftmax.compare.results import Result, Table
from fastsoftmax.compare.workloads import Op
from fastsoftmax.ladder import RUNGS, Rung

OURS = "fastsoftmax auto"
_CACHED = 1 << 18  # elements: in a cache on any machine of today


def names_of(result: Result) -> list[str]:
    """Return our default and the peers, in the order in which they are drawn: ours last, above the others."""
    rows = [row for table in result.tables for row in table.rows if not row.ours]
    return [*dict.fromkeys(row.contender for row in rows), OURS]


def speed_against_size(result: Result, op: Op, width: int = WIDE) -> Picture | None:
    """Return elements per ns against the size of the input, a line a contender, and the limit."""
    tables = [table for table in result.curve("size", op) if any(row.best_ns for row in table.rows)]
    if len(tables) < 2:
        return None
    curves = {name: [(t, row) for t in tables if (row := t.row(name)) and row.best_ns] for name in names_of(result)}
    limit = [(t.at, t.elements / t.limits.of(op)) for t in tables if t.limits is not None]
    speeds = [t.elements / row.best_ns for curve in curves.values() for t, row in curve if row.best_ns]
    x = Axis.over("elements (float32, rows of 1024)", [t.at for t in tables])
    y = Axis.over("elements per ns", [*speeds, *(speed for _, speed in limit)])
    ends = {name: curve[-1][0].elements / (curve[-1][1].best_ns or 1) for name, curve in curves.items() if curve}
    order = ", ".join(f"{name} {ends[name]:.2f}" for name in sorted(ends, key=lambda name: -ends[name]))
    picture = Picture(
        f"Speed of {op} against size",
        f"Elements per nanosecond, more is better. At {number(tables[-1].at)} elements: {order}.",
        x,
        y,
        width,
    )
    if limit:
        picture.bound(limit, "limit of this machine")
    for name, curve in curves.items():
        points = [(t.at, t.elements / row.best_ns) for t, row in curve if row.best_ns]
        tips = [f"{name}, {number(t.at)} elements: {duration(row.best_ns)}" for t, row in curve]
        picture.line(points, _short(name), "ours" if name == OURS else "", tips)
    return picture


def error_against_scale(result: Result, op: Op, width: int = WIDE) -> Picture | None:
    """Return the largest error in ULP against the scale of normal input, a line a contender."""
    tables = result.curve("scale", op)
    if len(tables) < 2:
        return None
    least = 0.1
    points = {
        name: [(t.at, max(row.max_ulp, least)) for t in tables if (row := t.row(name)) and row.max_ulp is not None]
        for name in names_of(result)
    }
    bound = EXACT_ULP[op]
    worst = {name: max((error for _, error in curve), default=0.0) for name, curve in points.items()}
    words = ", ".join(
        f"{name} {ulps(worst[name])}" for name in sorted(worst, key=lambda name: worst[name]) if worst[name]
    )
    picture = Picture(
        f"Error of {op} against the scale of the input",
        f"Largest error in units in the last place, less is better. Over all scales: {words}.",
        Axis.over("scale of the input (normal, float32)", [t.at for t in tables]),
        Axis.over("largest error, ULP", [least, bound * 2, *(e for curve in points.values() for _, e in curve)]),
        width,
    )
    picture.bound([(tables[0].at, bound), (tables[-1].at, bound)], f"exact: at most {bound:g} ULP")
    for name, curve in points.items():
        tips = [f"{name}, scale {number(at)}: {ulps(error)} ULP" for at, error in curve]
        picture.line(curve, _short(name), "ours" if name == OURS else "", tips)
    return picture


def ratios(result: Result, width: int = WIDE) -> Picture | None:
    """Return for every race how many times as fast as SciPy, and as the best other one, ours is."""
    races = []
    for table in result.races:
        ours, rival = table.row(OURS), best_other(table)
        if ours is not None and rival is not None:
            best = table.times_faster_than(rival.contender, ours)
            if best is not None:
                races.append((table, table.times_faster_than(BASELINE, ours), best, rival.contender))
    if not races:
        return None
    known = [ratio for _, scipy, best, _ in races for ratio in (scipy, best) if ratio is not None]
    won = sum(best > 1 for _, _, best, _ in races)
    wide = width == WIDE
    pitch = 21 if wide else 40  # narrow: the name above its row
    picture = Picture(
        "fastsoftmax auto against SciPy and against the best other contender",
        f"Times as fast, right of 1 is faster. Faster than the best other one in {won} of {len(races)} races.",
        Axis.over("times as fast", [*known, 0.8, 2.0]),
        Axis("", 1.0, 10.0),
        width,
        height=98 + pitch * len(races),
        left=318 if wide else 12,
        right=24,
        top=42,
    )
    picture.erase_axis()
    for a, classes, text in ((0, "ours", "against the best other"), (176, css_class(BASELINE), "against SciPy")):
        picture.dot(picture.left + a + 5, 14, classes, radius=5)
        picture.text(picture.left + a + 15, 18, text)
    one = picture.x(1.0)
    picture.body.append(f'<line class="one" x1="{one:.1f}" x2="{one:.1f}" y1="{picture.top}" y2="{picture.y.start}"/>')
    for k, (table, scipy, best, name) in enumerate(races):
        b = picture.top + (14 if wide else 28) + pitch * k
        ends = [one, *(picture.x(ratio) for ratio in (best, scipy) if ratio is not None)]
        picture.body.append(f'<line class="stick" x1="{min(ends):.1f}" x2="{max(ends):.1f}" y1="{b}" y2="{b}"/>')
        place = (picture.left - 12, b + 4) if wide else (picture.left, b - 12)
        picture.text(*place, f"{table.op}, {table.workload}", "", "end" if wide else "start")
        if scipy is not None:
            picture.dot(picture.x(scipy), b, css_class(BASELINE), f"{scipy:.2f} times as fast as SciPy", 5)
        picture.dot(picture.x(best), b, "ours", f"{best:.2f} times as fast as {name}, the best other", 5)
    return picture


def roofline(result: Result, width: int = WIDE) -> Picture | None:
    """Return the rungs' e^x per ns against their e^x per byte, under the roofs of memory and of e^x alone.

    Filled points are of the largest input, hollow ones of the largest that lies in a cache.
    """
    tables = [t for t in result.curve("size", "softmax") or result.races if t.op == "softmax" and t.limits is not None]
    if not tables:
        return None
    large = tables[-1]
    cached = [t for t in tables[:-1] if t.elements <= _CACHED][-1:]
    dots = [
        (rung, 1.0 / _bytes_an_exp(rung, t), rung.exps * t.elements / min(times), t is large)
        for t in (*cached, large)
        for rung in RUNGS
        if (row := t.row(f"fastsoftmax {rung.name}")) and (times := [ns for ns in (row.best_ns, row.reused_ns) if ns])
    ]
    peak = large.elements / large.limits.exp_ns  # type: ignore[union-attr]
    roofs = [(t, 2 * t.elements * _SIZE[t.dtype] / t.limits.copy_ns) for t in (*cached, large)]  # type: ignore[union-attr]
    x = Axis.over("e^x per byte read or written", [*(i for _, i, _, _ in dots), *(peak / w for _, w in roofs)], 1.6)
    y = Axis.over("e^x per ns", [*(speed for _, _, speed, _ in dots), peak], 1.6)
    words = "; ".join(f"{rung.name} {speed:.2f}" for rung, _, speed, big in dots if big)
    picture = Picture(
        "Roofline of the rungs, softmax",
        f"e^x per ns on an input of {number(large.elements)} elements, under a roof of {peak:.1f}: {words}.",
        x,
        y,
        width,
    )
    picture.bound([(min(peak / w for _, w in roofs), peak), (x.high, peak)], f"e^x alone, {peak:.1f} per ns")
    for t, bandwidth in roofs:
        start = max(x.low, y.low / bandwidth)
        picture.bound([(start, start * bandwidth), (peak / bandwidth, peak)], "")
        place = (picture.x(start) + 7, picture.y(start * bandwidth) - (4 if start > x.low else -16))
        picture.text(*place, f"{'memory' if t is large else 'cache'}, {bandwidth:.0f} GB/s", "note")
    for rung, intensity, speed, big in dots:
        colour = "ours" if rung.name == "auto" else "rung"
        a, b = picture.x(intensity), picture.y(speed)
        picture.dot(a, b, colour if big else f"{colour} hollow", f"{rung.name}: {speed:.2f} e^x per ns", 5)
        if big:
            picture.names.append((a, b, rung.name, colour))
    return picture


_SIZE = {"float16": 2, "float32": 4, "float64": 8}


def _bytes_an_exp(rung: Rung, table: Table) -> float:
    """Return the bytes that a rung's passes, as "3 + 2", read and write for each e^x."""
    return sum(map(int, rung.passes.split("+"))) * _SIZE[table.dtype] / rung.exps


def _short(name: str) -> str:
    return "fastsoftmax" if name == OURS else name
