"""Races count what they should; nothing here depends on how fast anything is."""

import gc
import math
import time

import pytest

from fastsoftmax.compare.timing import Lane, race


def test_every_lane_gets_the_same_number_of_samples():
    lanes = [Lane(lambda: None), Lane(lambda: sum(range(1000)))]
    race(lanes, 0, least=5)
    assert [len(lane.samples) for lane in lanes] == [5, 5]
    assert all(lane.loops >= 1 and 0 < lane.best <= lane.median for lane in lanes)


def test_slow_lanes_sit_laps_out():
    fast, other, slow = Lane(lambda: None), Lane(lambda: None), Lane(lambda: time.sleep(0.02))
    race([fast, other, slow], 60, least=3, most=20)
    assert len(fast.samples) == len(other.samples) == 20
    assert len(slow.samples) < 10


def test_every_sample_begins_with_a_call_that_does_not_count():
    calls = []
    lane = Lane(lambda: calls.append(time.sleep(0.003)))
    race([lane], 0, least=1)
    once = len(calls)
    race([lane], 0, least=5)
    assert lane.loops == 1
    assert len(calls) - once == once + 2 * 4


def test_most_samples_end_a_race():
    lane = Lane(lambda: None)
    race([lane], 60, most=4)
    assert len(lane.samples) == 4


def test_interruption_keeps_the_samples():
    laps = []

    def progress(done):
        laps.append(done)
        if len(laps) == 3:
            raise KeyboardInterrupt

    lanes = [Lane(lambda: None), Lane(lambda: None)]
    with pytest.raises(KeyboardInterrupt):
        race(lanes, 60, progress=progress)
    assert [len(lane.samples) for lane in lanes] == [2, 2]
    assert gc.isenabled()
    assert laps == sorted(laps)


def test_untimed_lanes_have_no_time():
    assert math.isnan(Lane(lambda: None).best)
    assert math.isnan(Lane(lambda: None).median)


def test_a_race_without_lanes():
    race([], 0)
