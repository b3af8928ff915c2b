"""The comparison as a Markdown document: for an issue, a pull request, a wiki."""

from __future__ import annotations

from fastsoftmax.compare import readme, report
from fastsoftmax.compare.results import Result


def document(result: Result) -> str:
    """Return speed, accuracy and every race as Markdown tables.

    Parameters
    ----------
    result : Result
        What `fastsoftmax compare` found.

    Returns
    -------
    str
        Markdown that GitHub shows as tables.
    """
    parts = [
        f"# {report.closing(result)}",
        "Interrupted: these are the results so far." if result.interrupted else "",
        "## Speed\n\nBest time in ns per element.",
        readme.speed_table(result),
        "## Accuracy\n\nLargest error in ULP against exact values.",
        readme.accuracy_table(result),
        "## Races",
    ]
    for table in result.races:
        parts += [f"### {table.workload}, `{table.op}`", readme.race_table(table), report.sentence(table)]
        parts += [report.reliability(table), table.remark]
    parts += [f"{name} was skipped: {why}" for name, why in result.skipped.items()]
    return "\n\n".join(part for part in parts if part) + "\n"
