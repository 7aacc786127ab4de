"""Comparisons of runs: numbers against independent sources, and what is claimed of them."""

from typing import Any

import numpy as np
import pytest
import sacrebleu
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.api import metrics as harness
from scipy import stats
from statsmodels.stats import contingency_tables, multitest

from eval.compare import Metric, compare
from tests.eval.made_runs import LOGS, WEIGHTED, coins, one, run_of, task_run


def test_right_and_wrong_are_tested_as_statsmodels_does() -> None:
    first, second = np.array(coins(300, 0.6, 1)), np.array(coins(300, 0.7, 2))
    table = [[np.sum(first * second), np.sum(first * (1 - second))],
             [np.sum((1 - first) * second), np.sum((1 - first) * (1 - second))]]
    oracle = contingency_tables.mcnemar(table, exact=True)
    task = one(list(first), list(second))
    assert task.result.p == pytest.approx(oracle.pvalue, rel=1e-12)
    assert (task.wins, task.losses) == (table[1][0], table[0][1])
    assert task.result.first == pytest.approx(first.mean()) and task.result.second == pytest.approx(second.mean())


def test_p_values_are_corrected_over_all_tasks_as_statsmodels_does() -> None:
    pairs = [(coins(200, 0.5, seed), coins(200, rate, seed + 50)) for seed, rate in enumerate((0.5, 0.62, 0.7, 0.55))]
    baseline = run_of(*(task_run(first, name=f"t{i}") for i, (first, _) in enumerate(pairs)))
    candidate = run_of(*(task_run(second, name=f"t{i}") for i, (_, second) in enumerate(pairs)), label="tuned")
    (comparison,) = compare(baseline, [candidate])
    oracle = multitest.multipletests([task.result.p for task in comparison.tasks], method="holm")[1]
    assert [task.p_corrected for task in comparison.tasks] == pytest.approx(list(oracle))
    assert comparison.n_tests == 4


def test_several_candidates_share_one_correction() -> None:
    baseline = run_of(task_run(coins(200, 0.5, 0)))
    candidates = [run_of(task_run(coins(200, 0.6, seed)), label=f"c{seed}") for seed in (1, 2)]
    both = compare(baseline, candidates)
    oracle = multitest.multipletests([made.tasks[0].result.p for made in both], method="holm")[1]
    assert [made.tasks[0].p_corrected for made in both] == pytest.approx(list(oracle))
    assert [made.n_tests for made in both] == [2, 2]


def test_other_scores_are_tested_as_scipy_does() -> None:
    random = np.random.default_rng(0)
    first = random.random(80)
    second = np.clip(first + random.normal(0.04, 0.2, 80), 0, 1)
    task = one(list(first), list(second))

    def difference(x: Any, y: Any, axis: int = -1) -> Any:
        return np.mean(y, axis=axis) - np.mean(x, axis=axis)

    oracle = stats.permutation_test(
        (first, second), difference, permutation_type="samples", vectorized=True, n_resamples=20_000, rng=1
    )
    drawn = stats.bootstrap(
        (first, second), difference, paired=True, vectorized=True, method="percentile", n_resamples=20_000, rng=1
    )
    assert task.result.p == pytest.approx(oracle.pvalue, abs=0.01)
    assert task.result.low == pytest.approx(drawn.confidence_interval.low, abs=0.003)
    assert task.result.high == pytest.approx(drawn.confidence_interval.high, abs=0.003)


LABELS = [[int(a), int(b)] for a, b in np.random.default_rng(3).integers(0, 2, (60, 2))]
OTHERS = [[gold, gold if gold == i % 2 else given] for i, (gold, given) in enumerate(LABELS)]
TEXTS = 3 * [
    [["the cat sat on the mat"], "the cat sat on a mat"], [["hello there my friend"], "hello my good friend"],
    [["it is a nice day today"], "today it is a nice day"], [["one two three four five"], "one two three four"],
]
WORSE = [[given, text.replace("a", "u").replace("my", "his")] for given, text in TEXTS]


@pytest.mark.parametrize(
    ("name", "is_higher_better", "values", "others"),
    [
        ("matthews_corrcoef", True, LABELS, OTHERS),
        ("f1", True, LABELS, OTHERS),
        ("perplexity", False, LOGS, [value + 0.1 for value in LOGS]),
        ("weighted_perplexity", False, WEIGHTED, [[value - 0.2, n] for value, n in WEIGHTED]),
        ("bits_per_byte", False, WEIGHTED, [[value - 0.2, n] for value, n in WEIGHTED]),
        ("bleu", True, TEXTS, WORSE),
        ("chrf", True, TEXTS, WORSE),
        ("ter", False, TEXTS, WORSE),
    ],
)
def test_a_score_of_the_whole_equals_that_of_the_harness(
    name: str, is_higher_better: bool, values: list[Any], others: list[Any]
) -> None:
    function = getattr(harness, {"f1": "f1_score"}.get(name, name))
    task = one(values, others, Metric(name, name, is_higher_better))
    assert task.result.first == pytest.approx(function(values), rel=1e-9)
    assert task.result.second == pytest.approx(function(others), rel=1e-9)
    assert task.result.low <= task.result.difference <= task.result.high


def test_mcc_of_several_classes_equals_scikit_learn() -> None:
    pairs = [[int(a), int(b)] for a, b in np.random.default_rng(8).integers(0, 4, (50, 2))]
    task = one(pairs, [[gold, gold] for gold, _ in pairs], Metric("mcc", "matthews_corrcoef", True))
    assert task.result.first == pytest.approx(sklearn.metrics.matthews_corrcoef(*zip(*pairs, strict=True)))
    assert task.result.second == pytest.approx(1.0)


def test_bleu_with_several_references_equals_sacrebleu() -> None:
    values = [[["a b c d e", "a b x d e f"], "a b c d e f"], [["g h i j k"], "g h i k j"]] * 4
    task = one(values, values, Metric("bleu", "bleu", True))
    streams = [[given[0] for given, _ in values], [given[1] if len(given) > 1 else None for given, _ in values]]
    assert task.result.first == pytest.approx(sacrebleu.corpus_bleu([text for _, text in values], streams).score)


def test_a_score_without_sums_is_scored_anew_from_the_drawn_samples() -> None:
    random = np.random.default_rng(9)
    human = random.uniform(0, 5, 60)
    first = [[h, h + e] for h, e in zip(human, random.normal(0, 3, 60), strict=True)]
    second = [[h, h + e] for h, e in zip(human, random.normal(0, 0.5, 60), strict=True)]
    task = one(first, second, Metric("spearman", "eval.tasks.glue.spearman", True))
    assert task.result.first == pytest.approx(stats.spearmanr(*zip(*first, strict=True)).statistic)
    assert task.outcome == "better" and task.result.low > 0


def test_the_smallest_detectable_difference_is_found_in_four_of_five_comparisons() -> None:
    n, rate, found = 400, 0.2, 0
    smallest = one(coins(n, 0.5, 0), [1 - x if i % 5 == 0 else x for i, x in enumerate(coins(n, 0.5, 0))])
    assert smallest.result.detectable is not None
    share_fixed = (rate + smallest.result.detectable) / 2
    for seed in range(100):
        random = np.random.default_rng(seed)
        draw = random.random(n)
        # A share of the samples changes; most of them for the better.
        first = np.where(draw < share_fixed, 0, np.where(draw < rate, 1, random.random(n) < 0.5))
        second = np.where(draw < share_fixed, 1, np.where(draw < rate, 0, first))
        found += one(list(first.astype(float)), list(second.astype(float))).outcome == "better"
    assert 70 <= found <= 92


def test_a_planted_gain_is_found_and_a_planted_loss_too() -> None:
    first, second = coins(400, 0.6, 1), coins(400, 0.75, 2)
    assert one(first, second).outcome == "better"
    assert one(second, first).outcome == "worse"


def test_less_is_better_where_the_metric_says_so() -> None:
    metric = Metric("perplexity", "perplexity", False)
    task = one(LOGS, [value + 0.2 for value in LOGS], metric)
    assert task.result.difference < 0 and task.outcome == "better" and task.wins == 40


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_swapping_the_runs_flips_every_sign_and_leaves_p(pairs: list[tuple[bool, bool]]) -> None:
    first, second = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    there, back = one(first, second), one(second, first)
    assert there.result.difference == pytest.approx(-back.result.difference)
    assert (there.result.low, there.result.high) == pytest.approx((-back.result.high, -back.result.low))
    assert there.result.p == pytest.approx(back.result.p)
    assert (there.wins, there.losses, there.ties) == (back.losses, back.wins, back.ties)


@given(st.lists(st.tuples(*[st.floats(0, 1, width=16)] * 2), min_size=2, max_size=9))
@settings(max_examples=25, deadline=None)
def test_swapping_the_runs_leaves_p_of_other_scores(pairs: list[tuple[float, float]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    there, back = one(first, second), one(second, first)
    assert there.result.difference == pytest.approx(-back.result.difference)
    assert there.result.p == pytest.approx(back.result.p)
