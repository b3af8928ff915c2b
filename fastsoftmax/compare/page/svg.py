"""Pictures with logarithmic axes as SVG, by hand: lines with their names at the end, points, bounds.

Colours are classes, `c-scipy` for the contender scipy, that the style sheet of the page knows in light and dark; a
picture that stands alone carries the style sheet with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files

Point = tuple[float, float]
_UPRIGHT = re.compile('text-anchor="end"|rotate')
WIDE, NARROW = 720, 400  # px: for a page, for a phone
_LINE = 16  # px from one name to the next


def style() -> str:
    """Return the style sheet of pages and pictures."""
    return (files("fastsoftmax.compare.page") / "style.css").read_text("utf-8")


def css_class(name: str) -> str:
    """Return the class that colours a contender."""
    return "c-" + name.replace(" ", "-")


def number(value: float) -> str:
    """Write a tick: 0.01, 1, 100, 10k, 4M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


@dataclass
class Axis:
    """A logarithmic axis from `low` to `high`, drawn from pixel `start` to pixel `end`."""

    title: str
    low: float
    high: float
    start: float = 0
    end: float = 1

    @classmethod
    def over(cls, title: str, values: Iterable[float], room: float = 1.15) -> Axis:
        """Return an axis with room for all values."""
        known = [value for value in values if value > 0 and math.isfinite(value)]
        return cls(title, min(known) / room, max(known) * room)

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; what lies outside is drawn at the edge."""
        share = math.log(min(max(value, self.low), self.high) / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return powers of ten, or fewer or more numbers where these are too many or too few."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        step = max(1, round((last - first) / (7 if abs(self.end - self.start) > 300 else 4)))
        found = [10.0**e for e in range(first, last + 1, step)]
        if self.high <= 100 * self.low:
            found = [m * 10.0**e for e in range(first - 1, last + 1) for m in (1, 2, 5)]
        return [tick for tick in found if self.low <= tick <= self.high]


@dataclass
class Picture:
    """A picture under construction. Text alternatives are not optional: `title` and `description`."""

    title: str
    description: str
    x: Axis
    y: Axis
    width: int = WIDE
    height: int = 400
    left: int = 0
    right: int = 0
    top: int = 14
    bottom: int = 46
    body: list[str] = field(default_factory=list)
    names: list[tuple[float, float, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.left = self.left or (58 if self.width == WIDE else 50)
        self.right = self.right or (150 if self.width == WIDE else 124)
        self.x.start, self.x.end = self.left, self.width - self.right
        self.y.start, self.y.end = self.height - self.bottom, self.top
        self._axes()

    def line(self, points: Sequence[Point], name: str, kind: str = "", tips: Sequence[str] = ()) -> None:
        """Draw a line with its name at the end, and a point with a tip at every value."""
        points = [(x, y) for x, y in points if math.isfinite(y) and y > 0]
        if not points:
            return
        classes = f"{css_class(name)} {kind}".strip()
        places = [(self.x(x), self.y(y)) for x, y in points]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        self.body.append(f'<polyline class="line {classes}" points="{path}"/>')
        for (a, b), tip in zip(places, tips, strict=False):
            self.dot(a, b, classes, tip)
        self.names.append((*places[-1], name, classes))

    def dot(self, a: float, b: float, classes: str, tip: str = "", radius: float = 3) -> None:
        """Draw a point at a pixel."""
        what = f"<title>{escape(tip)}</title>" if tip else ""
        self.body.append(f'<circle class="dot {classes}" cx="{a:.1f}" cy="{b:.1f}" r="{radius}">{what}</circle>')

    def bound(self, points: Sequence[Point], text: str) -> None:
        """Draw a dashed line with a text above its highest part, towards the right."""
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        top = max(y for _, y in points)
        x, y = [(x, y) for x, y in points if y > 0.95 * top][-1]
        self.body.append(f'<polyline class="bound" points="{path}"/>')
        self.text(self.x(x) - 2, self.y(y) - 6, text, "note", "end")

    def text(self, a: float, b: float, words: str, classes: str = "", anchor: str = "start") -> None:
        """Write at a pixel."""
        self.body.append(
            f'<text class="{classes}" x="{a:.1f}" y="{b:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def erase_axis(self) -> None:
        """Take away the upright axis: what stands in rows has names, not numbers."""
        self.body = [part for part in self.body if f'x1="{self.x.start}"' not in part and not _UPRIGHT.search(part)]

    def svg(self, *, alone: bool = False) -> str:
        """Return the picture; with its style sheet if it is to stand alone."""
        self._name_lines()
        sheet = f"<style>{style()}</style>" if alone else ""
        space = ' xmlns="http://www.w3.org/2000/svg"' if alone else ""
        paper = '<rect class="paper" width="100%" height="100%"/>' if alone else ""
        return (
            f'<svg{space} class="picture" role="img" viewBox="0 0 {self.width} {self.height}" '
            f'aria-label="{escape(self.title)}. {escape(self.description)}">'
            f"{sheet}{paper}{''.join(self.body)}</svg>"
        )

    def _axes(self) -> None:
        for tick in self.y.ticks():
            b = self.y(tick)
            self.body.append(f'<line class="grid" x1="{self.x.start}" x2="{self.x.end}" y1="{b:.1f}" y2="{b:.1f}"/>')
            self.text(self.x.start - 7, b + 4, number(tick), "tick", "end")
        for tick in self.x.ticks():
            a = self.x(tick)
            self.body.append(f'<line class="grid" y1="{self.y.start}" y2="{self.y.end}" x1="{a:.1f}" x2="{a:.1f}"/>')
            self.text(a, self.y.start + 18, number(tick), "tick", "middle")
        middle = (self.x.start + self.x.end) / 2
        self.text(middle, self.height - 6, self.x.title, "axis", "middle")
        centre = (self.y.start + self.y.end) / 2
        self.body.append(
            f'<text class="axis" text-anchor="middle" transform="translate(13 {centre:.0f}) rotate(-90)">'
            f"{escape(self.y.title)}</text>"
        )

    def _name_lines(self) -> None:
        """Write the names at the ends of the lines, moved apart where they would overlap."""
        names = sorted(self.names, key=lambda entry: entry[1])
        heights = spread_out([b for _, b, _, _ in names], _LINE, self.top + 4, self.height - self.bottom)
        for (a, b, name, classes), height in zip(names, heights, strict=True):
            start = a + 6
            self.body.append(
                f'<path class="leader {classes}" d="M{start:.1f},{b:.1f} L{self.x.end + 8:.1f},{height:.1f}"/>'
            )
            self.text(self.x.end + 12, height + 4, name, f"name {classes}")
        self.names.clear()


def spread_out(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move ascending places apart by at least `gap`, each as little as it takes, between low and high.

    Groups that touch are joined and centred on what their members wanted. Too many for the room end below it.
    """
    groups: list[tuple[float, int]] = []  # (first place, how many)
    for place in wanted:
        groups.append((place, 1))
        while len(groups) > 1 and groups[-2][0] + groups[-2][1] * gap > groups[-1][0]:
            (a, m), (b, n) = groups[-2:]
            groups[-2:] = [((a * m + (b - m * gap) * n) / (m + n), m + n)]
    places = [first + k * gap for first, count in groups for k in range(count)]
    for k in range(len(places)):
        places[k] = max(places[k], low + k * gap)
    for k in range(len(places)):
        places[-1 - k] = min(places[-1 - k], max(high - k * gap, low + (len(places) - 1 - k) * gap))
    return places
