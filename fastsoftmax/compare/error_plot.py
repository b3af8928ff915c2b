"""A survey of errors as a picture: against the scale of the numbers, and against the length of the rows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from fastsoftmax.compare.error_report import contenders, short
from fastsoftmax.compare.results import Result
from fastsoftmax.compare.survey import SERIES

FLOOR, CEILING = 0.2, 1e8  # ULP shown; more is drawn at the top
OURS = "fastsoftmax auto"
_AXES = {"scale": "standard deviation of the numbers", "length": "elements of a row"}
_RUNGS = ("#e8a33d", "#c9772b", "#8d6e63", "#b0893c", "#a1887f")
_PEERS = ("#4477aa", "#66a3c9", "#7a5ba6", "#5a9a78", "#999999", "#b36a8e", "#778899")


def curves(result: Result, op: str, dtype: str, figure: str) -> dict[str, list[tuple[float, float]]]:
    """Return the points of every contender: the figure ("scale" or "length"), and the largest error in ULP there."""
    points: dict[str, list[tuple[float, float]]] = {}
    for table in result.tables:
        if (table.op, table.dtype) == (op, dtype) and figure in table.figures:
            for row in table.rows:
                if row.max_ulp is not None and not math.isnan(row.max_ulp):
                    points.setdefault(row.contender, []).append((table.figures[figure], row.max_ulp))
    return points


def draw(result: Result, path: str | Path) -> None:
    """Write the picture: a row of panels for each type and figure, a panel for each function.

    Parameters
    ----------
    result : Result
        A survey.
    path : str or Path
        Its ending tells the format: .svg, .png or .pdf.

    Raises
    ------
    ValueError
        For a format that matplotlib doesn't know.
    OSError
        Where the file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    ops = list(dict.fromkeys(table.op for table in result.tables))
    dtypes = list(dict.fromkeys(table.dtype for table in result.tables))
    looks = _looks(contenders(result))
    lines = [(dtype, figure) for dtype in dtypes for figure in SERIES]
    sheet = Figure(figsize=(4.4 * len(ops), 2.6 * len(lines) + 0.7), layout="constrained")
    panels = sheet.subplots(len(lines), len(ops), squeeze=False, sharey=True)
    for (dtype, figure), row in zip(lines, panels, strict=True):
        for op, panel in zip(ops, row, strict=True):
            _panel(panel, curves(result, op, dtype, figure), looks)
            panel.set_title(f"{op}, {dtype}", loc="left", fontsize=10)
            panel.set_xlabel(_AXES[figure], fontsize=9)
        row[0].set_ylabel("largest error, ULP\n(over 1e8 at the top)", fontsize=9)
    handles, labels = panels[0][0].get_legend_handles_labels()
    sheet.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    metadata = {"Date": None} if str(path).endswith(".svg") else None
    with rc_context({"svg.hashsalt": "errors", "svg.fonttype": "none"}):  # the same file for the same result; small
        sheet.savefig(path, dpi=150, metadata=metadata)


def _looks(names: list[str]) -> dict[str, dict[str, Any]]:
    """Return how each contender's line looks: our default bold, our rungs warm, peers cool and dashed."""
    rungs = iter(_RUNGS * len(names))
    peers = iter(_PEERS * len(names))
    looks: dict[str, dict[str, Any]] = {}
    for name in names:
        if name == OURS:
            looks[name] = {"color": "#c62828", "linewidth": 2.5, "zorder": 4}
        elif name.startswith("fastsoftmax"):
            looks[name] = {"color": next(rungs), "linewidth": 1.3, "zorder": 3}
        else:
            looks[name] = {"color": next(peers), "linewidth": 1.3, "linestyle": "--", "zorder": 2}
    return looks


def _panel(panel: Any, lines: dict[str, list[tuple[float, float]]], looks: dict[str, dict[str, Any]]) -> None:
    """Draw the lines of one panel."""
    for name, points in lines.items():
        x, y = zip(*points, strict=True)
        shown = [min(max(error, FLOOR), CEILING) for error in y]
        panel.plot(x, shown, label=short(name), **looks[name])
    panel.set(xscale="log", yscale="log", ylim=(FLOOR, CEILING * 1.5))
    panel.axhspan(FLOOR, 2, color="#2e7d32", alpha=0.07, linewidth=0)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    panel.minorticks_off()
    panel.tick_params(labelsize=8)
