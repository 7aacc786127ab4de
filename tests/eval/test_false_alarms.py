"""A paired test at 5 % must cry wolf in 5 % of the cases where nothing changed, give or take one."""

import numpy as np
import pytest

from eval.statistics import mcnemar, paired_bootstrap, paired_permutation

N_TRIALS = 3000


def pairs_without_effect(trials: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two models of equal skill on the same samples, some of which are hard for both."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=(trials, n))
    first, second = difficulty + rng.normal(size=(2, trials, n))
    return first, second


def alarms(test, first: np.ndarray, second: np.ndarray) -> float:
    """Share of trials with p below 0.05; each trial draws with its own seed, or all would share one draw's luck."""
    return float(np.mean([test(a, b, seed) < 0.05 for seed, (a, b) in enumerate(zip(first, second, strict=True))]))


@pytest.mark.parametrize("kind", ["p", "mid_p"])
def test_mcnemar_raises_false_alarms_in_five_per_cent(kind):
    first, second = pairs_without_effect(N_TRIALS, 2000, seed=1)
    found = alarms(lambda a, b, _: getattr(mcnemar(a, b), kind), first > 0.3, second > 0.3)
    assert found == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("test", [paired_permutation, paired_bootstrap])
def test_resampling_raises_false_alarms_in_five_per_cent(test):
    first, second = pairs_without_effect(N_TRIALS, 100, seed=2)
    found = alarms(lambda a, b, seed: test(a, b, n_resamples=499, seed=seed).p, first, second)
    assert found == pytest.approx(0.05, abs=0.01)


def test_samples_that_share_a_passage_need_clusters():
    rng = np.random.default_rng(3)
    n_passages, n_questions = 60, 4
    clusters = np.repeat(np.arange(n_passages), n_questions).tolist()
    first = rng.normal(size=(N_TRIALS, n_passages * n_questions))
    second = first + np.repeat(rng.normal(size=(N_TRIALS, n_passages)), n_questions, axis=1)
    whole = alarms(lambda a, b, seed: paired_permutation(a, b, clusters, n_resamples=499, seed=seed).p, first, second)
    single = alarms(
        lambda a, b, seed: paired_permutation(a, b, n_resamples=499, seed=seed).p, first[:300], second[:300]
    )
    assert whole == pytest.approx(0.05, abs=0.01)
    assert single > 0.15
