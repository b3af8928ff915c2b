"""Races count what they should; nothing here depends on how fast anything is."""

import gc
import math

import pytest

from fastsoftmax.compare.timing import Lane, race


def test_every_lane_gets_the_same_number_of_samples():
    lanes = [Lane(lambda: None), Lane(lambda: sum(range(1000)))]
    race(lanes, 0, least=5)
    assert [len(lane.samples) for lane in lanes] == [5, 5]
    assert all(lane.loops >= 1 and 0 < lane.best <= lane.median for lane in lanes)


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
