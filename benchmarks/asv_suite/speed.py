"""How long the functions take: every rung on every class of shape, and calls that are mostly overhead."""

import functools

import numpy as np

import fastsoftmax

from .problems import DTYPES, OPS, RUNGS, SHAPES, compile_all, problem, rows


class Rungs:
    """Time of one call on one thread (`parallel` on all), into an array that is already there."""

    version = "1"
    warmup_time = 0.4
    params = (RUNGS, tuple(SHAPES), DTYPES)
    param_names = ("rung", "shape", "dtype")

    def setup_cache(self):
        compile_all()

    setup_cache.timeout = 1200

    def time_softmax(self, rung, shape, dtype):
        problem("softmax", rung, shape, dtype)()

    def time_log_softmax(self, rung, shape, dtype):
        problem("log_softmax", rung, shape, dtype)()

    def time_logsumexp(self, rung, shape, dtype):
        problem("logsumexp", rung, shape, dtype)()


class Half:
    """Time of one call of method "auto" on float16, on one thread, into an array that is already there."""

    version = "1"
    warmup_time = 0.4
    params = (tuple(SHAPES),)
    param_names = ("shape",)

    def setup_cache(self):
        compile_all(("auto",), ("float16",))

    setup_cache.timeout = 1200

    def time_softmax(self, shape):
        problem("softmax", "auto", shape, "float16")()

    def time_log_softmax(self, shape):
        problem("log_softmax", "auto", shape, "float16")()

    def time_logsumexp(self, shape):
        problem("logsumexp", "auto", shape, "float16")()


class Forms:
    """Time of one call of method "auto" on float32 that lie or are selected in other ways than plain rows."""

    version = "1"
    warmup_time = 0.4
    params = (("sliced", "strided", "masked", "masked columns", "few, sliced", "few, masked"),)
    param_names = ("form",)

    def setup_cache(self):
        for form in self.params[0]:
            for op in OPS:
                in_form(getattr(fastsoftmax, op), form)

    setup_cache.timeout = 600

    def time_softmax(self, form):
        in_form(fastsoftmax.softmax, form)

    def time_log_softmax(self, form):
        in_form(fastsoftmax.log_softmax, form)

    def time_logsumexp(self, form):
        in_form(fastsoftmax.logsumexp, form)


class Weights:
    """Time of logsumexp with weights, on one thread."""

    version = "1"
    warmup_time = 0.4

    def setup_cache(self):
        self.time_logsumexp()

    def time_logsumexp(self):
        x, keywords = arguments("weighted")
        fastsoftmax.logsumexp(x, **keywords)


class Calls:
    """Time of a call on a few numbers: the overhead of getting to a kernel and back."""

    version = "1"
    warmup_time = 0.4
    params = ((1, 10, 100),)
    param_names = ("n",)

    def setup_cache(self):
        for op in OPS:
            getattr(fastsoftmax, op)(few(100))

    def time_softmax(self, n):
        fastsoftmax.softmax(few(n))

    def time_log_softmax(self, n):
        fastsoftmax.log_softmax(few(n))

    def time_logsumexp(self, n):
        fastsoftmax.logsumexp(few(n))


class CallsInto:
    """Time of a call on a few numbers, in two rows, into an array that is already there."""

    version = "1"
    warmup_time = 0.4

    def setup_cache(self):
        for op in OPS:
            getattr(fastsoftmax, op)(TWO_ROWS, axis=-1)

    def time_softmax(self):
        fastsoftmax.softmax(TWO_ROWS, axis=-1, out=THERE)

    def time_log_softmax(self):
        fastsoftmax.log_softmax(TWO_ROWS, axis=-1, out=THERE)

    def time_logsumexp(self):
        fastsoftmax.logsumexp(TWO_ROWS, axis=-1, out=FOR_ROWS)


def in_form(function, form):
    """Call a function on what `arguments` returns."""
    x, keywords = arguments(form)
    function(x, **keywords)


@functools.cache
def arguments(form):
    """Return the array and the keywords of a form of call."""
    fastsoftmax.set_num_threads(1)
    x = rows(4, 10) if "few" in form else rows(64, 1000)
    keywords = {"axis": 0 if "columns" in form else -1}
    part = np.random.default_rng(1).random(x.shape, np.float32)
    if "sliced" in form:
        x = np.repeat(x, 2, -1)[:, : x.shape[-1]]
    elif "strided" in form:
        x = np.repeat(x, 2, -1)[:, ::2]
    elif "masked" in form:
        keywords["where"] = part < 0.7
    else:
        keywords["b"] = part
    return x, keywords


@functools.cache
def few(n):
    """Return n numbers."""
    return np.linspace(-1, 1, n, dtype=np.float32)


TWO_ROWS = np.linspace(-1, 1, 20, dtype=np.float32).reshape(2, 10)
THERE = np.zeros_like(TWO_ROWS)
FOR_ROWS = np.zeros(2, np.float32)
