"""One of the two processes of the gate: computes and times what it is told to, with the package it stands in.

It is run as text in the folder of either version, so it uses nothing but the public functions. A line of JSON
comes in, a line goes out: {"time": case, "loops": n} gives nanoseconds, {"save": case, "to": file} writes a
result; what cannot be done gives {"error": words}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

import numpy as np

import fastsoftmax

# Inputs on which a method has an error that depends on it alone.
INPUTS: dict[str, Callable[[Any], Any]] = {
    "normal": lambda x: x,
    "wide": lambda x: 60 * x,
    "far": lambda x: 1e3 + 5 * x,
    "peaked": lambda x: x + 30 * (np.arange(x.shape[-1]) == x.shape[-1] // 3),
}


def array(case: dict[str, Any]) -> Any:
    """Return the input of a case: normal numbers with rows of spread 1, 3 and 10, or what its "input" says."""
    x = np.random.default_rng(0).standard_normal(case["shape"])
    rows = np.moveaxis(x, case["axis"], -1)
    if "input" in case:
        rows = INPUTS[case["input"]](rows)
    else:
        rows *= np.resize([1.0, 3.0, 10.0], rows.shape[:-1])[..., None]
    return np.ascontiguousarray(np.moveaxis(rows, -1, case["axis"]), case["dtype"])


def in_form(form: str, x: Any, keywords: dict[str, Any]) -> Any:
    """Return the input as it lies in a form of call, of which the keywords are added to the others."""
    if form == "sliced":  # rows that are further apart than they are long
        return np.repeat(x, 2, -1)[..., : x.shape[-1]]
    if form == "strided":
        return np.repeat(x, 2, -1)[..., ::2]
    part = np.random.default_rng(1).random(x.shape)
    keywords |= {"where": part < 0.7} if form == "masked" else {"b": part.astype(x.dtype)}
    return x


def bind(case: dict[str, Any]) -> Callable[[], Any]:
    """Return a call that has run once."""
    x = array(case)
    keywords = {"axis": case["axis"], "method": case["method"]}
    if case.get("out"):
        keywords["out"] = np.zeros_like(x)
    if "form" in case:
        x = in_form(case["form"], x, keywords)
    function = getattr(fastsoftmax, case["op"])

    def call() -> Any:
        return function(x, **keywords)

    call()
    return call


def main() -> None:
    """Answer until the other end is closed."""
    fastsoftmax.set_num_threads(1)
    calls: dict[str, Callable[[], Any]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any]
        try:
            if "save" in request:
                np.save(request["to"], bind(request["save"])())
                answer = {"ok": True}
            else:
                key = json.dumps(request["time"])
                if key not in calls:
                    calls[key] = bind(request["time"])
                call = calls[key]
                call()  # what the other process left in the caches must not count
                repeat = range(request["loops"])
                start = perf_counter_ns()
                for _ in repeat:
                    call()
                answer = {"ns": (perf_counter_ns() - start) / request["loops"]}
        except Exception as error:  # the other end decides what that means
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
