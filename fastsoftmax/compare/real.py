"""Real input, made on the spot from what Python and scikit-learn bring along. Everything is deterministic."""

from __future__ import annotations

import re
import sysconfig
from collections import Counter, defaultdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastsoftmax

VOCABULARY = 8192
POSITIONS = 512
COMPONENTS = 16


class Input(NamedTuple):
    """An array to compute on, what is worth saying about it, and the figures that show its quality."""

    array: NDArray[Any]
    remark: str = ""
    figures: dict[str, float] = {}  # noqa: RUF012 - never written to


@cache
def digits() -> Input:
    """Logits (1797, 10) of a softmax regression on scikit-learn's images of handwritten digits.

    Trained by gradient descent with momentum on the cross-entropy, with this package's own softmax, on four
    fifths of the images; the figures are its accuracy and loss on the other fifth.
    """
    images, labels = _digits()
    x = np.c_[images, np.ones(len(images), np.float32)]  # a column of ones for the bias
    shuffled = np.random.default_rng(0).permutation(len(x))
    test, train = np.split(shuffled, [len(x) // 5])
    one_hot = np.eye(10, dtype=np.float32)[labels]

    weights, velocity = np.zeros((2, x.shape[1], 10), np.float32)
    rate, momentum, decay = 0.5, 0.9, 1e-4
    for _ in range(500):
        probabilities = fastsoftmax.softmax(x[train] @ weights, axis=1)
        gradient = x[train].T @ (probabilities - one_hot[train]) / len(train) + decay * weights
        velocity = momentum * velocity - rate * gradient
        weights += velocity

    logits = x @ weights
    accuracy = float(np.mean(logits[test].argmax(axis=1) == labels[test]))
    chosen = fastsoftmax.log_softmax(logits[test], axis=1)[np.arange(len(test)), labels[test]]
    remark = f"softmax regression trained with these kernels; {accuracy:.1%} of {len(test)} unseen digits right"
    return Input(logits, remark, {"test_accuracy": accuracy, "test_cross_entropy": -float(chosen.mean())})


@cache
def mixture() -> Input:
    """Weighted log-densities (1797, 16) of a Gaussian mixture on the digits, float64, for logsumexp.

    Their logsumexp over the components is each image's log-likelihood.
    """
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    images, _ = _digits()
    x = PCA(20, random_state=0).fit_transform(images.astype(np.float64))
    model = GaussianMixture(COMPONENTS, covariance_type="diag", random_state=0, reg_covar=1e-4).fit(x)
    distance = (x[:, None, :] - model.means_) ** 2 / model.covariances_
    normal = -0.5 * (distance + np.log(2 * np.pi * model.covariances_)).sum(axis=2)
    terms = np.log(model.weights_) + normal
    likelihood = float(fastsoftmax.logsumexp(terms, axis=1).mean())
    remark = f"{COMPONENTS} Gaussians fitted to the digits: mean log-likelihood {likelihood:.2f}"
    return Input(terms, remark, {"mean_log_likelihood": likelihood, "library_says": float(model.score(x))})


@cache
def language() -> Input:
    """Logits (512, 8192) of a language model of the English in Python's own documentation.

    A trigram model smoothed by bigrams and unigrams (Dirichlet back-off), plus a bonus for words used lately
    (a cache model: Kuhn & De Mori, 1990), which is why its scores need a softmax to become probabilities.
    It predicts words of a text it has not seen; the figure is its perplexity there.
    """
    words = english()
    common = [word for word, _ in sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))]
    if len(common) < VOCABULARY:
        raise RuntimeError(f"this Python ships only {len(common)} different words; {VOCABULARY} are needed")
    number = {word: i for i, word in enumerate(common[:VOCABULARY])}
    ids = [number[word] for word in words if word in number]
    split = len(ids) * 9 // 10
    training, unseen = ids[:split], ids[split : split + POSITIONS]

    counts = np.bincount(training, minlength=VOCABULARY) + 0.5
    unigrams = counts / counts.sum()
    bigrams, trigrams = _followers(training, 1), _followers(training, 2)

    logits = np.empty((POSITIONS, VOCABULARY), np.float32)
    history = training[-200:]
    for row, word in zip(logits, unseen, strict=True):
        p = _backed_off(bigrams.get((history[-1],)), unigrams, strength=50.0)
        p = _backed_off(trigrams.get((history[-2], history[-1])), p, strength=10.0)
        recent = np.bincount(history[-200:], minlength=VOCABULARY)
        row[:] = np.log(p) + 0.5 * np.log1p(recent)
        history.append(word)

    chosen = fastsoftmax.log_softmax(logits, axis=1)[np.arange(POSITIONS), unseen]
    perplexity = float(np.exp(-chosen.mean(dtype=np.float64)))
    remark = f"a language model of Python's documentation; perplexity {perplexity:.0f} on unseen text"
    return Input(logits, remark, {"perplexity": perplexity})


def english() -> list[str]:
    """Return the words of the English that ships with Python, in order: docstrings, comments, help texts."""
    library = Path(sysconfig.get_path("stdlib"))
    elsewhere = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "ensurepip"}
    # Short strings are matched to be skipped, so that no quote in one is taken for the start of a docstring.
    prose = re.compile(r"""(?sm)(\"{3}|'{3})(.*?)(?<!\\)\1|\#(.*?)$|"[^"\n]*"|'[^'\n]*'""")
    word = re.compile(r"[a-z]+(?:'[a-z]+)?")
    words: list[str] = []
    for file in sorted(library.rglob("*.py")):
        if elsewhere.isdisjoint(file.relative_to(library).parts):
            source = file.read_text("utf-8", "replace")
            text = " ".join(match[2] or match[3] or "" for match in prose.finditer(source))
            words += word.findall(text.lower())
    return words


def _digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the 1797 images of 8 x 8 pixels as rows of numbers in [0, 1], and their labels."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return (images / 16).astype(np.float32), labels


def _followers(ids: list[int], order: int) -> dict[tuple[int, ...], Counter[int]]:
    """Count which word follows each ``order`` words."""
    followers: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    contexts = ((a,) for a in ids) if order == 1 else pairwise(ids)
    for context, word in zip(contexts, ids[order:], strict=False):
        followers[context][word] += 1
    return followers


def _backed_off(counts: Counter[int] | None, prior: NDArray[np.floating], strength: float) -> NDArray[np.floating]:
    """Return the probabilities of the next word: counts, plus ``strength`` words spread like the prior."""
    if counts is None:
        return prior
    p = strength * prior
    p[list(counts)] += list(counts.values())
    return p / (strength + counts.total())
