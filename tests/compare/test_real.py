"""The real inputs are what they claim to be."""

from collections import Counter

import numpy as np

from fastsoftmax.compare import exact, real


def test_digits_are_recognised():
    source = real.digits()
    assert source.array.shape == (1797, 10)
    assert source.array.dtype == np.float32
    assert source.figures["test_accuracy"] > 0.95
    assert source.figures["test_cross_entropy"] < 0.2
    assert f"{source.figures['test_accuracy']:.1%}" in source.remark


def test_language_predicts_better_than_chance_by_far():
    source = real.language()
    assert source.array.shape == (real.POSITIONS, real.VOCABULARY)
    assert real.VOCABULARY >= 8000
    assert real.POSITIONS >= 500
    assert np.isfinite(source.array).all()
    assert source.figures["perplexity"] < real.VOCABULARY / 5
    # The scores are no probabilities yet: that is what the softmax is for.
    assert np.abs(exact.logsumexp(source.array)).max() > 0.01


def test_english_is_english():
    common = {word for word, _ in Counter(real.english()).most_common(20)}
    assert {"the", "of", "to", "is", "and"} <= common


def test_mixture_is_the_fitted_one():
    source = real.mixture()
    assert source.array.shape == (1797, real.COMPONENTS)
    assert source.array.dtype == np.float64
    np.testing.assert_allclose(source.figures["mean_log_likelihood"], source.figures["library_says"], rtol=1e-9)
