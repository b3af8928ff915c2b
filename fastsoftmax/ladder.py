"""The ladder: every way to compute softmax, log_softmax and logsumexp, as records.

One record a rung drives ``method=``, the tests, both benchmark suites, the command line and the README. A new rung is
a module in `fastsoftmax.kernels` and a record here.
"""

from dataclasses import dataclass
from types import ModuleType

from fastsoftmax.kernels import naive, online, rows, stable, two_pass

EXACT = "2 ULP; logsumexp 1"
MILAKOV = "Milakov & Gimelshein 2018"
DUKHAN = "Dukhan & Ablavatski 2020"
BLANCHARD = "Blanchard, Higham & Higham 2021"


@dataclass(frozen=True)
class Rung:
    """One way to compute the three functions.

    Attributes
    ----------
    name : str
        The value of ``method=``.
    note : str
        The idea in a line.
    passes : str
        Reads and writes of each element for softmax, as "reads + writes".
    exps : int
        Exponentials an element for softmax.
    stable : bool
        Whether no finite input makes it overflow.
    bound : str
        Error bound of softmax; u is the unit roundoff (half an ULP of 1), n the length, range the largest element less
        the smallest. For 2 ULP, logsumexp's comes behind it: 1 ULP, or one ULP of 1 where it is nearer 0 than 0.001.
    source : str
        Where it comes from.
    """

    name: str
    note: str
    passes: str
    exps: int
    stable: bool
    bound: str
    source: str


@dataclass(frozen=True)
class Way:
    """How a rung is run: its kernels, and whether and when its work is shared among threads."""

    kernels: ModuleType
    tuned: bool = False
    threads: str = "never"

    @property
    def textbook(self) -> ModuleType | None:
        """The kernels of a rung that is not tuned, which know rows of float32 and float64 only."""
        return None if self.tuned else self.kernels


RUNGS = (
    Rung("naive", "exp, sum, divide", "2 + 2", 1, False, "(n + 8) u, unless it overflows", BLANCHARD),
    Rung("stable", "subtract the maximum first", "3 + 2", 1, True, "(n + 8 + 2 range) u", BLANCHARD),
    Rung("online", "maximum and sum in one pass", "2 + 1", 2, True, "(2 n + 8 + 2 range) u", MILAKOV),
    Rung("two_pass", "no maximum: e^x as 2^f and n, summed apart", "2 + 1", 2, True, EXACT, DUKHAN),
    Rung("parallel", "what auto does, on all threads whatever the size", "2 + 2", 1, True, EXACT, "here"),
    Rung("auto", "guessed exponent, kept terms; threads where they pay", "2 + 2", 1, True, EXACT, "here"),
)

WAYS = {
    "naive": Way(naive),
    "stable": Way(stable),
    "online": Way(online),
    "two_pass": Way(two_pass),
    "parallel": Way(rows, tuned=True, threads="always"),
    "auto": Way(rows, tuned=True, threads="if they pay"),
}


def methods() -> tuple[Rung, ...]:
    """Return the ladder: a record for every value of ``method=``.

    Returns
    -------
    tuple of Rung
        From the simplest to what users get.

    Examples
    --------
    >>> import fastsoftmax
    >>> [rung.name for rung in fastsoftmax.methods()]
    ['naive', 'stable', 'online', 'two_pass', 'parallel', 'auto']
    >>> fastsoftmax.methods()[-1].bound
    '2 ULP; logsumexp 1'
    """
    return RUNGS


def way_of(method: str) -> Way:
    """Return how a method is run.

    Raises
    ------
    ValueError
        If there is no such method.
    """
    try:
        return WAYS[method]
    except (KeyError, TypeError):
        names = ", ".join(WAYS)
        raise ValueError(f"method must be one of {names}, not {method!r}") from None
