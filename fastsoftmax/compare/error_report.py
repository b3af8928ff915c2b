"""A survey of errors on the terminal: a table for each function and type, and the worst of each contender."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from fastsoftmax.compare.accuracy import exact_ulp
from fastsoftmax.compare.report import LOOK, STYLE, conditions, plain_console, ulps
from fastsoftmax.compare.results import Result, Row, Table
from fastsoftmax.compare.survey import worst

_WIDTH = 140  # where the output is no terminal


def show(result: Result, console: Console | None = None) -> None:
    """Print the whole survey."""
    console = console or plain_console(_WIDTH)
    kinds = list(dict.fromkeys((table.op, table.dtype) for table in result.tables))
    for op, dtype in kinds:
        tables = [table for table in result.tables if (table.op, table.dtype) == (op, dtype)]
        console.print(_errors(op, dtype, tables))
    console.print(_summary(result, kinds))
    console.print(Text(conditions(result), style="dim"), soft_wrap=True)
    for contender, why in result.skipped.items():
        console.print(Text(f"{contender} was skipped: {why}", style="dim"), soft_wrap=True)
    if result.interrupted:
        console.print(Text("Interrupted: these are the results so far.", style="bold yellow"))


def contenders(result: Result) -> list[str]:
    """Return the names of all contenders, in the order of the result."""
    return list(dict.fromkeys(row.contender for table in result.tables for row in table.rows))


def short(contender: str) -> str:
    """Return a contender's name for the head of a column: our rungs by their names alone."""
    return contender.removeprefix("fastsoftmax ")


def title(table: Table) -> str:
    """Return what the rows of a table are."""
    figure = next(iter(table.figures.values()), None)
    return table.workload if figure is None else f"{table.workload} {figure:,.7g}"


def _errors(op: str, dtype: str, tables: Sequence[Table]) -> RichTable:
    """Return a line for each kind of rows: the largest error of every contender, and under it the mean one."""
    grid = RichTable(title=f"{op} of {dtype}: largest and mean error in ULP", **LOOK)
    grid.add_column("rows", no_wrap=True)
    names = list(dict.fromkeys(row.contender for table in tables for row in table.rows))
    for name in names:
        grid.add_column(short(name), justify="right")
    for table in tables:
        rows = {row.contender: row for row in table.rows}
        grid.add_row(escape(title(table)), *(_cell(rows.get(name)) for name in names))
    return grid


def _cell(row: Row | None) -> Text:
    """Return the errors of a row, or what became of it."""
    if row is None or row.max_ulp is None:
        return Text(row.verdict if row is not None else "-", style=STYLE.get(row.verdict, "") if row else "")
    return Text(ulps(row.max_ulp), style=STYLE.get(row.verdict, "")) + Text(f"\n{ulps(row.mean_ulp)}", style="dim")


def _summary(result: Result, kinds: Sequence[tuple[str, str]]) -> RichTable:
    """Return the largest error of every contender over all rows, a column for each function and type."""
    grid = RichTable(title="Largest error in ULP over all rows", **LOOK)
    grid.add_column("contender", no_wrap=True)
    for op, dtype in kinds:
        grid.add_column(f"{op}\n{dtype}", justify="right", no_wrap=True)
    for name in contenders(result):
        found = [worst(result, name, op, dtype) for op, dtype in kinds]
        cells = [Text(ulps(row.max_ulp), style=STYLE.get(row.verdict, "")) if row else "-" for row in found]
        grid.add_row(escape(name), *cells)
    bounds = (f"{exact_ulp(op, dtype):.4g}" for op, dtype in kinds)  # type: ignore[arg-type]
    grid.add_row("called exact up to", *bounds, style="dim")
    return grid
