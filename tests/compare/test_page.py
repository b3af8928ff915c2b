"""The page: what it holds, that it needs nothing from elsewhere, and, in a browser, that it works."""

import html.parser
import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from fastsoftmax.compare import markdown, page
from fastsoftmax.compare.limits import Limits
from fastsoftmax.compare.page import charts, svg
from fastsoftmax.compare.results import Result, Row, Table

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VOID = {"meta"}


@pytest.fixture
def full(result):
    """Return a result with curves, too."""
    for k in range(3):
        at = 1000.0 * 16**k
        rows = [
            Row("fastsoftmax auto", True, 0.4 * at, 0.5 * at, 9, 9, 1.0, 0.5, "exact", reused_ns=0.3 * at),
            Row("fastsoftmax stable", True, 0.9 * at, 1.0 * at, 9, 9, 9.0, 0.5, "inexact"),
            Row("numba by hand", False, 3.0 * at, 3.1 * at, 9, 9, 9.0, 0.5, "inexact"),
            Row("scipy", False, 3.0 * at, 3.1 * at, 9, 9, 60.0, 0.5, "inexact"),
        ]
        size = Limits(0.1 * at, 0.05 * at, 0.17 * at)
        shape = [int(at) // 1000, 1000]
        for op in ("softmax", "logsumexp"):
            point = Table("size", op, shape, -1, "float32", 1, rows=rows, limits=size, series="size", at=at)
            judged = [replace(row, best_ns=None, max_ulp=row.max_ulp * 4**k) for row in rows]
            scale = Table("scale", op, [4, 4], -1, "float32", 1, rows=judged, series="scale", at=4.0**k)
            result.tables += [point, scale]
    return result


class Outline(html.parser.HTMLParser):
    """Checks that tags close in turn; collects ids, links and the text of headings."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.outside, self.headings = [], set(), set(), [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.add(value)
            if name == "href":
                self.links.add(value)
            if name in ("src", "href") and not value.startswith("#"):
                self.outside.append(value)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h2", "h3"):
            self.headings.append(data)


def test_the_page_is_complete_and_needs_nothing_from_elsewhere(full):
    text = page.document(full, "a < b")
    outline = Outline(text)
    assert "<title>a &lt; b</title>" in text
    assert {link[1:] for link in outline.links} == outline.ids
    assert outline.outside == []
    assert not re.search(r"@import|url\(|fetch\(|https?://", text)
    for heading in (
        "Speed of softmax against size",
        "Roofline of the rungs, softmax",
        "Error of logsumexp against the",
    ):
        assert any(found.startswith(heading) for found in outline.headings), heading
    for words in ("a [remark]", "3 NaN or inf of 100", "A CPU", "not installed (onnx is missing)", "scipy==1.17"):
        assert words in text
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text


def test_every_picture_has_a_text_alternative_with_its_figures(full):
    pictures = re.findall(r'<svg[^>]*aria-label="([^"]*)"', page.document(full))
    assert len(pictures) == len(re.findall("<svg", page.document(full))) == 2 * 6
    assert any("At 256k elements: fastsoftmax auto 2.50, scipy 0.33, numba by hand 0.33" in text for text in pictures)


def test_a_result_without_curves_is_a_page_without_them(result):
    del result.tables[1:]
    result.tables[0].limits = None
    outline = Outline(page.document(result))
    assert "Speed against size" not in outline.headings
    assert "All races" in outline.headings
    nothing = Result(result.machine, result.versions, 1, "now", interrupted=True)
    assert "Interrupted" in page.document(nothing)
    assert "Interrupted" in markdown.document(nothing)


@pytest.mark.parametrize("width", [svg.WIDE, svg.NARROW])
def test_pictures_that_stand_alone_are_svg_and_stay_inside(full, width):
    for picture in (
        charts.speed_against_size(full, "softmax", width),
        charts.error_against_scale(full, "logsumexp", width),
        charts.ratios(full, width),
        charts.roofline(full, width),
    ):
        root = ET.fromstring(picture.svg(alone=True))
        assert root.find("{http://www.w3.org/2000/svg}style").text == svg.style()
        for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
            assert 0 < float(circle.get("cx")) < width
            assert 0 < float(circle.get("cy")) < picture.height
        for text in root.iter("{http://www.w3.org/2000/svg}text"):
            if text.get("class", "").startswith("name"):
                assert float(text.get("x")) + 7.5 * len(text.text) < width


def test_names_at_line_ends_do_not_overlap():
    assert svg.spread_out([10, 50], 16, 0, 100) == [10, 50]
    assert svg.spread_out([50, 50, 50], 16, 0, 100) == [34, 50, 66]
    at_the_edge = svg.spread_out([98, 99, 100], 16, 0, 100)
    assert at_the_edge == [68, 84, 100]
    assert svg.spread_out([1, 2, 90], 16, 0, 100)[:2] == [0, 16]


def test_axes_have_ticks_in_every_range():
    for low, high in ((0.9, 2.5), (0.3, 40), (1e-3, 1e7), (2, 9)):
        axis = svg.Axis("", low, high, 0, 600)
        assert 2 <= len(axis.ticks()) <= 12
        assert axis(low) == 0
        assert axis(high) == pytest.approx(600)
    assert [svg.number(v) for v in (0.01, 1, 20, 1024, 4e6)] == ["0.01", "1", "20", "1.02k", "4M"]


def test_markdown_has_every_race(result):
    text = markdown.document(result)
    assert "### digits, `softmax`" in text
    assert "| **fastsoftmax auto** | exact | 100 ns | 110 ns | -5 +10 % | 80.0 ns | - | 50 % | 4.00 | 0.75 |" in text
    assert "onnxruntime was skipped: not installed (onnx is missing)" in text


PROBE = """<script>
const report = {};
const table = document.querySelector("#details table");
const column = (k) => [...table.tBodies[0].rows].map((row) => row.cells[k].textContent);
const press = (k) => table.querySelectorAll("th button")[k].click();
press(3); report.up = column(3); press(3); report.down = column(3);
press(0); report.words = column(0);
report.sorted = table.querySelectorAll("th")[0].getAttribute("aria-sort");
report.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const shown = [...document.querySelectorAll("svg")].filter((svg) => svg.getBoundingClientRect().width > 0);
report.shown = shown.length;
document.body.dataset.report = JSON.stringify(report);
</script></body>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [1200, 500])
def test_in_a_browser(full, tmp_path, width):
    file = tmp_path / "page.html"
    file.write_text(page.document(full).replace("</body>", PROBE), "utf-8")
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--enable-logging=stderr",
            "--dump-dom", file.as_uri(),
        ],
        capture_output=True, text=True, timeout=100, check=True, env=os.environ | {"HOME": str(tmp_path)},
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    found = Probe(done.stdout).report
    assert found["up"] == ["50.0 ns", "80.0 ns", "100 ns", "400 ns", "-"]
    assert found["down"] == ["400 ns", "100 ns", "80.0 ns", "50.0 ns", "-"]
    assert found["words"] == sorted(found["words"])
    assert found["sorted"] == "ascending"
    assert found["shown"] == 6
    assert found["overflow"] == 0


class Probe(html.parser.HTMLParser):
    """Finds what the probe wrote on the page."""

    def __init__(self, text):
        super().__init__()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        report = dict(attributes).get("data-report")
        if tag == "body" and report:
            self.report = json.loads(report)
