"""The laboratory: compares implementations of softmax, log_softmax and logsumexp for speed and accuracy.

Data walks one way: `workloads` make the input, `contenders` compute on it, `accuracy` judges every result
against `exact`, `timing` races them, `results` keeps what came out, and `report` and `readme` show it. `lab`
runs all of it for the command line. Needs the ``bench`` extra; nothing in the core imports it.
"""
