"""The result table: values, intervals, chance, marks; against statsmodels, scipy, scikit-learn and the harness."""

import math

import numpy as np
import pytest
from lm_eval.api.metrics import mean_stderr, weighted_perplexity
from scipy import stats
from sklearn.metrics import f1_score
from statsmodels.api import OLS
from statsmodels.stats.proportion import proportion_confint

from eval.compare import Metric
from eval.report import rows_of
from eval.report.markdown import marks
from eval.report.numbers import interval_text, score_text
from eval.report.rows import n_choices
from tests.eval.made_runs import run_of, task_run
from tests.eval.reported_runs import choice_task, chosen, reported


def row_of(scores: list[object], metric: Metric, **fields: object):
    return rows_of(reported(run=run_of(task_run(scores, metric=metric)), **fields))[0]


def test_right_or_wrong_gets_wilsons_interval():  # oracle: statsmodels
    row = row_of([1.0] * 13 + [0.0] * 7, Metric("acc", "mean", True))
    assert (row.low, row.high) == pytest.approx(proportion_confint(13, 20, method="wilson"))
    assert (row.value, row.interval, row.n) == (0.65, "Wilson", 20)


def test_other_means_get_students_interval_and_the_harness_standard_error():  # oracle: scipy and lm_eval
    scores = [0.1, 0.5, 0.25, 0.9, 0.4]
    row = row_of(scores, Metric("rouge1", "mean", True))
    assert row.stderr == pytest.approx(mean_stderr(scores))
    assert (row.low, row.high) == pytest.approx(stats.t.interval(0.95, 4, loc=0.43, scale=mean_stderr(scores)))


def test_perplexity_is_the_harness_value_inside_a_bootstrap_interval():  # oracle: lm_eval
    values = [(-30.0 - 4 * i, 10 + i) for i in range(12)]
    row = row_of(values, Metric("word_perplexity", "weighted_perplexity", False))
    assert row.value == pytest.approx(weighted_perplexity(values))
    assert row.low < row.value < row.high and "bootstrap" in row.interval and row.direction == "↓"


def test_f1_is_scikit_learns():  # oracle: scikit-learn
    pairs = [(1, 1), (1, 0), (0, 0), (0, 1), (1, 1), (0, 0)]
    row = row_of(pairs, Metric("f1", "f1", True))
    assert row.value == pytest.approx(f1_score([gold for gold, _ in pairs], [given for _, given in pairs]))


def test_a_bootstrap_of_equal_samples_claims_no_certainty():
    row = row_of([(1, 1)] * 8, Metric("mcc", "matthews_corrcoef", True))
    assert (row.low, row.high, row.interval) == (None, None, "")


def passages(n: int, n_each: int) -> list[dict[str, str]]:
    return [{"passage": f"a passage of more than forty characters, number {i // n_each}"} for i in range(n * n_each)]


def clustered_fit(values: np.ndarray, clusters: np.ndarray):
    return OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": True, "df_correction": False}
    )


def test_error_and_interval_of_samples_about_passages_belong_together():  # oracle: statsmodels
    random = np.random.default_rng(3)
    scores = (random.random(48) < np.repeat(random.random(12), 4)).astype(float)
    row = rows_of(reported(task_run(list(scores), docs=passages(12, 4))))[0]
    error = clustered_fit(scores, np.repeat(np.arange(12), 4)).bse[0]
    half = stats.t.ppf(0.975, 11) * error
    assert (row.interval, row.n_passages, row.stderr) == ("clustered t", 12, pytest.approx(error))
    assert (row.low, row.high) == pytest.approx((scores.mean() - half, scores.mean() + half))


def test_the_harness_s_own_error_is_kept_beside_that_of_passages():
    scores = [float(i % 8 < 4) for i in range(32)]
    published = {
        "results": {"sst2": {"acc,none": 0.5, "acc_stderr,none": 0.0898}}, "n-samples": {"sst2": {"effective": 32}},
    }
    row = rows_of(reported(task_run(scores, docs=passages(8, 4)), results=published))[0]
    assert row.stderr_harness == 0.0898
    assert row.stderr == pytest.approx(clustered_fit(np.array(scores), np.repeat(np.arange(8), 4)).bse[0])


def test_fewer_than_five_passages_have_no_interval_and_it_is_said_why():
    row = rows_of(reported(task_run([1.0, 0.0] * 15, docs=passages(3, 10))))[0]
    assert (row.low, row.high, row.interval) == (None, None, "")
    assert marks(row) == "no interval: about 3 passages only"


def test_passages_that_are_all_right_count_as_one_right_each():  # oracle: statsmodels
    row = rows_of(reported(task_run([1.0] * 40, docs=passages(8, 5))))[0]
    assert (row.low, row.high) == pytest.approx(proportion_confint(8, 8, method="wilson"))
    assert row.interval == "clustered Wilson"


def test_what_is_the_same_in_all_samples_is_no_passage():
    docs = [{"context": "Answer the question with one word, and nothing else."}] * 20
    row = rows_of(reported(task_run([1.0, 0.0] * 10, docs=docs)))[0]
    assert (row.interval, row.n_passages) == ("Wilson", None)


def test_a_score_of_whole_samples_is_drawn_by_passages():
    # Marks of one passage are the same: forty samples hold no more than eight.
    human, model = np.random.default_rng(5).uniform(0, 5, (2, 8))
    pairs = [[float(human[i]), float(0.5 * human[i] + model[i])] for i in np.repeat(np.arange(8), 5)]
    metric = Metric("pearson", "eval.tasks.glue.pearson", True)
    held = rows_of(reported(task_run(pairs, metric=metric, docs=passages(8, 5))))[0]
    eight = rows_of(reported(task_run(pairs[::5], metric=metric)))[0]
    forty = rows_of(reported(task_run(pairs, metric=metric)))[0]
    assert held.value == pytest.approx(eight.value)
    assert (held.low, held.high, held.stderr) == pytest.approx((eight.low, eight.high, eight.stderr))
    assert held.stderr > 1.5 * forty.stderr and held.interval == "clustered percentile bootstrap"


def test_the_interval_of_a_group_counts_the_passages_of_its_tasks():
    scores = [float(i % 8 < 4) for i in range(32)]
    tasks = [task_run(scores, name="a", docs=passages(8, 4)), task_run([1.0, 0.0] * 8, name="b")]
    results = {
        "groups": {"both": {"acc,none": 0.5, "acc_stderr,none": 0.07}}, "group_subtasks": {"both": ["a", "b"]},
    }
    first, second, both = rows_of(reported(*tasks, results=results))
    error = math.sqrt((32 / 48 * first.stderr) ** 2 + (16 / 48 * second.stderr) ** 2)
    assert (both.stderr, both.stderr_harness) == (pytest.approx(error), 0.07)
    assert (both.low, both.high) == pytest.approx(stats.norm.interval(0.95, loc=0.5, scale=error))


def test_a_score_that_is_no_number_is_shown_as_none():
    row = row_of([math.inf, 1.0], Metric("loss", "mean", False))
    assert (row.value, row.low, row.high) == (None, None, None)
    assert score_text(row.value, row.unit) == "–" and interval_text(row) == ""


def test_samples_that_a_metric_does_not_apply_to_are_left_out_of_it():
    assert row_of([1.0, math.nan, 0.0], Metric("acc", "nanmean", True)).n == 2


def test_chance_of_a_choice_is_one_in_the_number_of_choices():
    assert rows_of(reported(choice_task(5, 10, n_choices=5)))[0].chance == pytest.approx(0.2)


def test_choices_asked_twice_for_mutual_information_count_once():
    sample = chosen(0, [-1.0, -2.0, -1.5, -2.5], 0, scores={"acc,none": 1.0, "acc_mutual_info,none": 1.0})
    assert n_choices(sample) == 2


def test_texts_have_no_chance_level():
    assert row_of([1.0, 0.0], Metric("acc", "mean", True)).chance is None


@pytest.mark.parametrize(("n_right", "expected"), [(6, True), (18, False), (0, False)])
def test_a_score_whose_interval_holds_chance_is_marked(n_right: int, expected: bool):
    assert rows_of(reported(choice_task(n_right, 20)))[0].is_like_guessing is expected


def test_a_cancelled_run_is_marked_as_partial():
    row = rows_of(reported(choice_task(3, 5, n_asked=30)))[0]
    assert (row.is_partial, row.n_answered, row.n_asked) == (True, 5, 30)


def test_what_was_not_scored_is_counted_and_not_wrong():
    row = row_of([1.0, None, 1.0], Metric("acc", "mean", True))
    assert (row.value, row.n, row.n_unscored, row.is_partial) == (1.0, 2, 1, False)


def test_figures_of_the_results_file_go_before_our_own():
    scores = {"acc,none": 0.5, "acc_stderr,none": 0.111}
    results = {"results": {"sst2": scores}, "n-samples": {"sst2": {"effective": 4}}}
    assert row_of([1.0, 0.0, 1.0, 0.0], Metric("acc", "mean", True), results=results).stderr == 0.111


def test_a_results_file_older_than_the_last_samples_is_not_believed():
    results = {"results": {"sst2": {"acc,none": 1.0, "acc_stderr,none": 0.0}}, "n-samples": {"sst2": {"effective": 2}}}
    row = row_of([1.0, 1.0, 0.0, 0.0], Metric("acc", "mean", True), results=results)
    assert (row.value, row.n) == (0.5, 4)


def test_a_group_gets_the_harness_score_with_a_normal_interval():
    tasks = [choice_task(4, 8, name="a"), choice_task(6, 8, name="b")]
    results = {
        "groups": {"both": {"acc,none": 0.625, "acc_stderr,none": 0.125, "alias": "both"}},
        "group_subtasks": {"both": ["a", "b"]}, "versions": {"both": 2},
    }
    row = rows_of(reported(*tasks, results=results))[-1]
    assert (row.low, row.high) == pytest.approx(stats.norm.interval(0.95, loc=0.625, scale=0.125))
    assert (row.task, row.n, row.is_group, row.version) == ("both", 16, True, "2")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.65, "percent", "0.650"), (-0.1558, "coefficient", "−0.156"), (31.7073, "plain", "31.71"),
        (95.0, "plain", "95.00"), (1234.5, "plain", "1234"), (43986.1, "plain", "43,986"),
        (-0.0001, "coefficient", "0.000"), (27.34, "hundred", "27.3"),
    ],
)
def test_numbers_are_written_as_they_are_read(value: float, unit, text: str):
    assert score_text(value, unit) == text
