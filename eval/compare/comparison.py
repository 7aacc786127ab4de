"""Two or more runs against each other, with p-values corrected for how many things were asked about."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from eval.compare import comparable
from eval.compare.changes import change
from eval.compare.difference import Difference, common_unit, difference
from eval.compare.draws import pooled
from eval.compare.measure import NotMeasurable, Unit
from eval.compare.notes import notes_of
from eval.compare.outcome import FIRST_METRICS, Comparison, Outcome, TaskComparison
from eval.compare.pairing import Hypothesis, Pairing, Refusal, hypotheses
from eval.compare.run import Run
from eval.statistics import holm


def compare(
    baseline: Run, candidates: Sequence[Run], *, metric: str | None = None, alpha: float = 0.05
) -> tuple[Comparison, ...]:
    """Each candidate against the baseline, over what both have; Holm's correction is over all of it.

    What was asked for by one name is tested once: a group of tasks as the one score that it has. `metric`: the one to
    compare by ("acc" or "acc,none"); without it the first that each group or task names, so that it is chosen before
    anything is seen.
    """
    found = [list(hypotheses(baseline, candidate, metric)) for candidate in candidates]
    n_tests = sum(isinstance(one, Hypothesis) for ones in found for one in ones)
    tested: list[list[_Tested]] = []
    refused: list[list[Refusal]] = []
    for ones in found:
        tested.append([])
        refused.append([one for one in ones if isinstance(one, Refusal)])
        for hypothesis in (one for one in ones if isinstance(one, Hypothesis)):
            try:
                tested[-1].append(_test(hypothesis, alpha, n_tests))
            except NotMeasurable as error:
                refused[-1].append(Refusal(hypothesis.name, (error.text,)))
    corrected = iter(holm([one.result.p for results in tested for one in results]))
    comparisons = []
    for candidate, results, refusals in zip(candidates, tested, refused, strict=True):
        tasks = [_finished(one, next(corrected), alpha) for one in results]
        names = list(dict.fromkeys(name for one in results for name in one.hypothesis.members))
        comparisons.append(Comparison(
            baseline.label, candidate.label, baseline.id, candidate.id, alpha, sum(map(len, tested)), tuple(tasks),
            tuple(refusals), tuple(comparable.alarms(baseline, candidate, names)),
            tuple(notes_of(baseline, candidate, tasks)),
        ))
    return tuple(comparisons)


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Everything as plain values that JSON has; no NaN."""
    plain: dict[str, Any] = _finite(asdict(comparison))
    return plain


@dataclass(frozen=True)
class _Tested:
    """A hypothesis with its result; `parts`: the results of a group's tasks, which describe and claim nothing."""

    hypothesis: Hypothesis
    unit: Unit
    result: Difference
    parts: Mapping[str, Difference]


def _test(hypothesis: Hypothesis, alpha: float, n_tests: int) -> _Tested:
    members, weights = hypothesis.members, hypothesis.weights
    parts = {name: one.part(1.0 if weights is None else weights[name]) for name, one in members.items()}
    whole = list(parts.values())
    if hypothesis.is_group and weights is None:
        whole = pooled(parts)
    result = difference(whole, alpha=alpha, n_tests=n_tests)
    described = {
        name: difference([part], alpha=alpha, n_tests=n_tests) for name, part in parts.items() if hypothesis.is_group
    }
    return _Tested(hypothesis, common_unit(whole), result, described)


def _finished(one: _Tested, p_corrected: float, alpha: float) -> TaskComparison:
    hypothesis, result = one.hypothesis, one.result
    members = hypothesis.members
    is_higher_better = next(iter(members.values())).metric.is_higher_better
    gain = result.difference if is_higher_better else -result.difference
    outcome: Outcome = "no detectable change"
    if p_corrected < alpha and gain != 0:
        outcome = "better" if gain > 0 else "worse"
    if not hypothesis.is_group:
        return _of_pairing(hypothesis.name, members[hypothesis.name], result, p_corrected, outcome)
    parts = tuple(_of_pairing(name, members[name], made, None, "described") for name, made in one.parts.items())
    keys = dict.fromkeys(part.metric for part in parts)
    return TaskComparison(
        hypothesis.name, keys.popitem()[0] if len(keys) == 1 else FIRST_METRICS, parts[0].is_metric_asked,
        is_higher_better, one.unit, result, p_corrected, outcome, sum(part.wins for part in parts),
        sum(part.losses for part in parts), sum(part.ties for part in parts), sum(part.n_unscored for part in parts),
        sum(part.n_one_sided for part in parts), (), parts, "by size" if hypothesis.weights is None else "equal",
        hypothesis.left_out,
    )


def _of_pairing(
    name: str, pairing: Pairing, result: Difference, p_corrected: float | None, outcome: Outcome
) -> TaskComparison:
    measured, each = pairing.measured, pairing.measured.each
    is_right_or_wrong = each is not None and measured.unit in ("percent", "coefficient") and bool(
        np.isin(np.concatenate(each), (0, 1)).all()
    )
    changes = []
    for number, (before, after) in enumerate(pairing.pairs):
        goodness = None if each is None else (float(each[0][number]), float(each[1][number]))
        changes.append(change(before, after, pairing.key, goodness, is_binary=is_right_or_wrong))
    wins = sum(one.kind in ("fixed", "better") for one in changes)
    losses = sum(one.kind in ("broken", "worse") for one in changes)
    return TaskComparison(
        name, pairing.key, pairing.is_asked, pairing.metric.is_higher_better, measured.unit, result, p_corrected,
        outcome, wins, losses, len(changes) - wins - losses, pairing.n_unscored, pairing.n_one_sided, tuple(changes),
    )


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
