"""Intervals, paired tests, Holm and power against scipy, statsmodels, lm_eval and printed tables."""

import math
import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.api import metrics as harness
from scipy import stats
from statsmodels.api import OLS
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import normal_sample_size_one_tail
from statsmodels.stats.proportion import proportion_confint

from eval.statistics import (
    bootstrap_interval,
    bootstrap_stderr,
    detectable_difference,
    detectable_rate_difference,
    holm,
    mcnemar,
    mean_interval,
    mean_stderr,
    paired_bootstrap,
    paired_permutation,
    resampling,
    samples_for_difference,
    samples_for_rate_difference,
    wilson_interval,
)

unhurried = settings(deadline=None)  # the machine may be busy with something else
scores = st.lists(st.floats(-100, 100), min_size=2, max_size=30)
answers = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def skewed(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=n)


@unhurried
@given(scores)
def test_standard_error_is_the_harness_s(values):
    assert mean_stderr(values) == pytest.approx(harness.mean_stderr(values), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("draws", [300, 2000])
def test_bootstrap_standard_error_draws_as_the_harness_draws(draws, monkeypatch):
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    values = [-value for value in skewed(37)]
    expected = harness.bootstrap_stderr(harness.perplexity, values, iters=draws)
    rows = [(value, 1) for value in values]
    ours = bootstrap_stderr(rows, lambda totals: np.exp(-totals[..., 0] / totals[..., 1]), n_resamples=draws)
    assert ours == pytest.approx(expected, rel=1e-12)


def test_bootstrap_standard_error_of_mcc_is_the_harness_s(monkeypatch):
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    rng = random.Random(3)
    items = [(gold := rng.randrange(2), gold if rng.random() < 0.7 else 1 - gold) for _ in range(40)]
    expected = harness.bootstrap_stderr(harness.matthews_corrcoef, items, iters=200)

    def mcc(totals):
        tn, fp, fn, tp = np.moveaxis(totals, -1, 0)
        return (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))

    rows = np.eye(4)[[2 * gold + guess for gold, guess in items]]
    assert bootstrap_stderr(rows, mcc, n_resamples=200) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_matches_the_published_table(right, n, low, high):
    """Newcombe 1998, Statistics in Medicine 17:857, table I, method 3."""
    found = wilson_interval(right, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@unhurried
@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.99]))
def test_wilson_interval_is_statsmodels(case, confidence):
    found = wilson_interval(*case, confidence=confidence)
    low, high = proportion_confint(*case, alpha=1 - confidence, method="wilson")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


@unhurried
@given(scores)
def test_mean_interval_is_scipy_s_t_interval(values):
    if np.ptp(values) > 1e-3:
        found, expected = mean_interval(values), stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_clustered_standard_error_is_statsmodels():
    rng = np.random.default_rng(1)
    clusters = rng.integers(12, size=80)
    values = rng.normal(size=80) + rng.normal(size=12)[clusters]
    fit = OLS(values, np.ones(80)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": True, "df_correction": False}
    )
    assert mean_stderr(values, list(clusters)) == pytest.approx(fit.bse[0], rel=1e-12)
    assert mean_stderr(values, list(range(80))) == pytest.approx(mean_stderr(values), rel=1e-12)


@pytest.mark.parametrize("method", ["percentile", "BCa"])
@pytest.mark.parametrize("values", [skewed(40), np.repeat([0.0, 1.0], [30, 10])], ids=["continuous", "right or wrong"])
def test_bootstrap_interval_is_scipy_s(method, values):
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=40_000, method=method, rng=np.random.default_rng(7)
    ).confidence_interval
    found = bootstrap_interval(values, method=method, n_resamples=40_000)
    # Two independent sets of 40,000 draws: the quantiles agree to about a hundredth of the width.
    width = expected.high - expected.low
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.026 * width)


def test_clustered_bootstrap_interval_is_as_wide_as_the_clustered_error_says():
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(200), 5)
    values = rng.normal(size=200)[clusters] + 0.1 * rng.normal(size=1000)
    found = bootstrap_interval(values, list(clusters))
    assert found.n == 200
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(mean_stderr(values, list(clusters)), rel=0.05)
    assert found.high - found.low > 2 * (bootstrap_interval(values).high - bootstrap_interval(values).low)


@unhurried
@given(answers)
def test_mcnemar_is_statsmodels_exact_test(pairs):
    first, second = zip(*pairs, strict=True)
    table = [[sum(pair == (a, b) for pair in pairs) for b in (True, False)] for a in (True, False)]
    found = mcnemar(first, second)
    assert found.p == pytest.approx(min(1.0, statsmodels_mcnemar(table, exact=True).pvalue), abs=1e-12)
    assert (found.n_broken, found.n_fixed) == (table[0][1], table[1][0])
    assert 0 <= found.p <= 1
    assert -1 <= found.low <= found.high <= 1


def test_mcnemar_gives_the_p_value_printed_for_the_airway_study():
    """Fagerland, Lydersen and Laake 2013, table 1: 1 against 7 changed of 21; exact p 0.070."""
    first = [True] * 1 + [True] * 1 + [False] * 7 + [False] * 12
    second = [True] * 1 + [False] * 1 + [True] * 7 + [False] * 12
    assert round(mcnemar(first, second).p, 3) == 0.070


def test_interval_of_a_paired_difference_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    fixed, broken, n = 0.15, 0.05, 120
    changes = rng.choice([1, -1, 0], p=[fixed, broken, 1 - fixed - broken], size=(1500, n))
    held = [found.low <= fixed - broken <= found.high for found in (mcnemar(c == -1, c == 1) for c in changes)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


@unhurried
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=9))
def test_permutation_test_is_the_enumeration_of_all_swaps(pairs):
    first, second = np.array(pairs, dtype=float).T
    differences = second - first
    sums = [abs(np.dot(signs, differences)) for signs in product([1, -1], repeat=len(differences))]
    expected = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-9)
    assert paired_permutation(first, second).p == pytest.approx(expected, abs=1e-12)


def test_permutation_test_of_right_and_wrong_answers_is_mcnemar_s():
    rng = np.random.default_rng(4)
    first, second = rng.random(400) < 0.6, rng.random(400) < 0.66
    found = paired_permutation(first, second, n_resamples=200_000)
    assert found.p == pytest.approx(mcnemar(first, second).p, abs=0.003)


def test_permutation_test_of_continuous_scores_is_scipy_s():
    first, second = skewed(60, 1), skewed(60, 2) + 0.3
    expected = stats.permutation_test(
        (second, first), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples",
        vectorized=True, n_resamples=40_000, rng=np.random.default_rng(0),
    )
    found = paired_permutation(first, second, n_resamples=40_000)
    assert found.difference == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue, abs=0.01)


def test_paired_bootstrap_is_scipy_s_on_the_differences():
    first, second = skewed(80, 1), skewed(80, 2) + 0.3
    expected = stats.bootstrap(
        (second - first,), np.mean, n_resamples=40_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    found = paired_bootstrap(first, second, n_resamples=40_000)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)


@pytest.mark.parametrize("n", [6, 12, 30])
def test_an_interval_drawn_from_few_is_as_wide_as_student_s(n):
    # Of normal numbers the t interval is the truth, which plain percentiles miss by a fifth at n = 6.
    plain, wide, student = 0.0, 0.0, 0.0
    for seed in range(60):
        values = np.random.default_rng(seed).normal(size=n)
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        found = paired_bootstrap(np.zeros(n), values, n_resamples=4000, seed=seed)
        drawn = bootstrap_interval(values, method="percentile", n_resamples=4000, seed=seed)
        wide, plain, student = (
            wide + found.high - found.low, plain + drawn.high - drawn.low, student + expected.high - expected.low
        )
    assert wide / student == pytest.approx(1, abs=0.12)
    assert plain < wide


def test_fewer_than_five_clusters_give_no_interval():
    values, clusters = skewed(40), [i % 4 for i in range(40)]
    for found in (
        mean_interval(values, clusters), bootstrap_interval(values, clusters),
        paired_bootstrap(values, values + skewed(40, 1), clusters),
    ):
        assert math.isnan(found.low) and math.isnan(found.high) and found.n == 4


def test_counting_equal_rows_draws_from_the_same_distribution_as_drawing_each(monkeypatch):
    first = np.repeat([0.0, 1.0], [70, 130])
    second = np.repeat([0.0, 1.0], [60, 140])[np.random.default_rng(0).permutation(200)]
    tests = (paired_bootstrap, paired_permutation)
    counted = [test(first, second, n_resamples=50_000) for test in tests]
    monkeypatch.setattr(resampling, "MAX_DISTINCT_ROWS", 0)
    drawn = [test(first, second, n_resamples=50_000) for test in tests]
    assert counted[1].p == pytest.approx(drawn[1].p, abs=0.01)
    assert (counted[0].low, counted[0].high) == pytest.approx((drawn[0].low, drawn[0].high), abs=0.006)


@unhurried
@given(scores, st.integers(0, 5))
def test_equal_runs_show_no_difference_and_a_seed_repeats_the_figures(values, seed):
    assert paired_permutation(values, values, seed=seed, n_resamples=200).p == 1
    other = values[::-1]
    once, again = (paired_bootstrap(values, other, seed=seed, n_resamples=200) for _ in range(2))
    assert repr(once) == repr(again)  # NaN ends are equal in words only
    forth = paired_permutation(values, other, seed=seed, n_resamples=200)
    assert forth.difference == pytest.approx(-paired_permutation(other, values, seed=seed, n_resamples=200).difference)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_holm_is_statsmodels(n):
    p_values = np.round(np.random.default_rng(n).random(n) ** 3, 2)  # rounded, so that some are equal
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


@unhurried
@given(st.floats(0.01, 1), st.floats(0.05, 1), st.sampled_from([0.5, 0.8, 0.95]))
def test_sample_sizes_are_statsmodels(discordance, share, power):
    difference = discordance * share
    expected = normal_sample_size_one_tail(
        difference, power, 0.05 / 2, math.sqrt(discordance), math.sqrt(discordance - difference**2)
    )
    n = samples_for_rate_difference(difference, discordance, power=power)
    assert n == math.ceil(expected) or abs(expected - n) < 1e-6
    assert detectable_rate_difference(n, discordance, power=power) <= difference * (1 + 1e-9)
    n = samples_for_difference(difference, 1.0, power=power)
    assert n == max(2, math.ceil(normal_sample_size_one_tail(difference, power, 0.05 / 2, 1.0)))
    assert detectable_difference(n, 1.0, power=power) <= difference * (1 + 1e-9)


def test_the_needed_samples_find_the_difference_as_often_as_promised():
    fixed, broken = 0.14, 0.06
    n = samples_for_rate_difference(fixed - broken, fixed + broken)
    rng = np.random.default_rng(8)
    counts = rng.multinomial(n, [fixed, broken, 1 - fixed - broken], size=20_000)
    fewer, changed = counts[:, :2].min(axis=1), counts[:, :2].sum(axis=1)
    mid_p = 2 * stats.binom.cdf(fewer, changed, 0.5) - stats.binom.pmf(fewer, changed, 0.5)
    assert np.mean(mid_p < 0.05) == pytest.approx(0.8, abs=0.02)


def test_no_difference_is_promised_that_could_not_be_seen():
    assert detectable_rate_difference(5, 0.1) == math.inf
    with pytest.raises(ValueError, match="as many changed answers"):
        samples_for_rate_difference(0.2, 0.1)


@pytest.mark.parametrize("values", [[], [[[1.0]]], [1.0, math.nan], [math.inf]])
def test_scores_that_are_no_numbers_are_refused(values):
    with pytest.raises(ValueError, match="score"):
        bootstrap_interval(values)


def test_runs_over_different_samples_are_refused():
    for test in (mcnemar, paired_bootstrap, paired_permutation):
        with pytest.raises(ValueError, match="same samples on both sides"):
            test([1, 0, 1], [1, 0])
    with pytest.raises(ValueError, match="cluster"):
        mean_stderr([1, 2, 3], ["a", "b"])
    with pytest.raises(ValueError, match="right or wrong"):
        mcnemar([0.5], [1])
