"""Our time over a rival's, measured in one process, in turn: it survives a change of machine."""

from fastsoftmax.compare.contenders import contenders, equal_threads
from fastsoftmax.compare.timing import Lane, race

from .problems import DTYPES, SHAPES, compile_all, rows

RIVALS = ("scipy", "numpy")
SECONDS = 0.5
LAPS = 20  # at least: the best of fewer is not the best on a busy machine


def ratio(op, rival, shape, dtype):
    """Return the best time of method "auto" over the best time of a rival, on one thread each."""
    sizes, axis = SHAPES[shape]
    x = rows(*sizes, dtype=dtype, axis=axis)
    records = {record.name: record for record in contenders(["auto"])}
    pair = [records["fastsoftmax auto"], records[rival]]
    with equal_threads(pair, 1):
        lanes = [Lane(record.prepare(op, x, axis, 1).run) for record in pair]
        for lane in lanes:
            lane.run()
        race(lanes, SECONDS, least=LAPS)
    return lanes[0].best / lanes[1].best


class Ratio:
    """Speed against a rival; 0.25 is four times faster. Both allocate their results."""

    version = "1"
    unit = "x its time"
    params = (RIVALS, tuple(SHAPES), DTYPES)
    param_names = ("rival", "shape", "dtype")

    def setup_cache(self):
        compile_all(("auto",))

    setup_cache.timeout = 600

    def track_softmax(self, rival, shape, dtype):
        return ratio("softmax", rival, shape, dtype)

    def track_log_softmax(self, rival, shape, dtype):
        return ratio("log_softmax", rival, shape, dtype)

    def track_logsumexp(self, rival, shape, dtype):
        return ratio("logsumexp", rival, shape, dtype)
