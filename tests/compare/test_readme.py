"""The README's tables."""

import fastsoftmax
from fastsoftmax.compare import readme


def lines(markdown):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if line[:1] == "|"]


def test_speed_table_shows_losses_too(result):
    heads, _, digits, small = lines(readme.speed_table(result))
    assert heads == [
        "input",
        "function",
        "fastsoftmax auto",
        "scipy",
        "torch",
        "jax",
        "x SciPy",
        "x best peer",
        "of limit",
    ]
    assert digits == ["digits", "`softmax`", "1.00", "4.00", "**0.80**", "failed", "4.00", "0.80", "50 %"]
    assert small == ["10 x 10 float32", "`logsumexp`", "**10.00**", "90.00", "-", "-", "9.00", "9.00", "-"]


def test_lead_table_shows_the_best_other_only(result):
    heads, _, digits, small = lines(readme.lead_table(result))
    assert heads == ["input", "function", "fastsoftmax auto", "best other", "which", "x SciPy", "x best other"]
    assert digits == ["digits", "`softmax`", "1.00", "0.80", "torch", "4.00", "0.80"]
    assert small == ["10 x 10 float32", "`logsumexp`", "10.00", "90.00", "scipy", "9.00", "9.00"]


def test_accuracy_table(result):
    result.tables[0].rows[3].verdict = "wrong"
    _, _, digits, small = lines(readme.accuracy_table(result))
    assert digits == ["digits", "`softmax`", "**0.75**", "66.00", "wrong (1.50)", "failed"]
    assert small[2:] == ["**0.75**", "2.50", "-", "-"]


def test_a_wrong_result_has_no_time(result):
    result.tables[0].rows[3].verdict = "wrong"
    assert lines(readme.speed_table(result))[2][4] == "wrong"


def test_ladder_table_has_all_rungs():
    _, _, *rungs = lines(readme.ladder_table())
    assert [cells[0] for cells in rungs] == [f"`{rung.name}`" for rung in fastsoftmax.methods()]


def test_the_conditions_are_named(result):
    assert readme.speed_table(result).endswith("A CPU, 1 thread each; CPython 3.14; fastsoftmax 0.1.0, scipy 1.17.")
