"""The laboratory: compares implementations of softmax, log_softmax and logsumexp for speed and accuracy.

Data walks one way: `workloads` make the input, `contenders` compute on it, `accuracy` judges every result
against `exact`, a `lineup` is raced by `timing`, `statistics` and `limits` say what the samples mean, `results` keeps
what came out, and `report`, `page`, `markdown` and `readme` show it. `lab` runs all of it for the command line. `gate`
compares two versions of this package. Needs the ``bench`` extra; nothing in the core imports it.
"""
