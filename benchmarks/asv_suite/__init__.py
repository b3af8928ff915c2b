"""The history: what asv measures for every commit. See "History" in the README.

Rules that keep the history whole:

- Every benchmark has a ``version`` set by hand. Raise it only when the *meaning* of its number changes; asv
  then starts a new line. Without it, asv would drop all history whenever a line of the benchmark is edited.
- No ``setup``: asv then times single calls, too short to time well. Instead ``setup_cache`` compiles for all
  processes of a commit, `problems.problem` makes inputs and loads kernels in the first call of a process, and
  ``warmup_time`` is longer than that, because asv sees in the warm-up how many calls make a sample.
- asv draws lower as better, so a ratio is our time over theirs.
"""
