"""Results survive the way to JSON and back, and answer questions."""

import json

import pytest

from fastsoftmax.compare.results import Result, machine


def test_json_round_trip(result, tmp_path):
    result.save(tmp_path / "result.json")
    assert Result.load(tmp_path / "result.json") == result


def test_json_is_strict(result):
    def refuse(name):
        raise AssertionError(name)

    data = json.loads(result.to_json(), parse_constant=refuse)
    assert data["schema"] == 2
    assert data["tables"][0]["rows"][0]["max_ulp"] == "inf"


def test_the_first_schema_is_read_without_what_it_lacked(result):
    data = json.loads(result.to_json()) | {"schema": 1}
    for table in data["tables"]:
        for name in ("limits", "noise", "wobble"):
            del table[name]
        for row in table["rows"]:
            for name in ("median_low_ns", "median_high_ns", "reused_ns", "cold_ns"):
                del row[name]
    for row in result.tables[0].rows:
        row.median_low_ns = row.median_high_ns = row.reused_ns = None
    result.tables[0].limits = result.tables[0].noise = None
    read = Result.from_json(json.dumps(data))
    assert read.tables == result.tables
    assert Result.from_json(read.to_json()) == read


@pytest.mark.parametrize("text", ["{}", "[]", "1", '{"schema": 99}', "no json"])
def test_other_files_are_refused(text):
    with pytest.raises(ValueError, match=r"."):
        Result.from_json(text)


def test_ranking_puts_wrong_and_untimed_ones_last(result):
    ranking = [row.contender for row in result.tables[0].ranking]
    assert ranking == ["torch", "fastsoftmax auto", "scipy", "fastsoftmax naive", "jax"]
    assert result.tables[0].fastest_exact().contender == "torch"


def test_derived_figures(result):
    table = result.tables[0]
    auto = table.row("fastsoftmax auto")
    assert table.ns_per_element(auto) == 1.0
    assert table.times_faster_than("scipy", auto) == 4.0
    assert table.share_of_limit(auto) == 0.5  # of its reused time
    assert table.share_of_limit(table.row("jax")) is None
    assert result.tables[1].share_of_limit(auto) is None
    assert table.times_faster_than("jax", auto) is None
    assert table.row("nobody") is None


def test_machine_is_described():
    assert set(machine()) >= {"cpu", "cpus", "system", "python"}
