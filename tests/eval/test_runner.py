"""The runner by itself, with a task and a model of a few lines."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from eval.runner import ATTEMPTS, CHUNK_SAMPLES, evaluate
from eval.types import Answer, Cut, EvaluationError, Generation, Request, Result, Sample, Unscored, count_cut


class Counting:
    """A model that answers from the length of texts and remembers what it was asked."""

    def __init__(self, broken: Collection[str] = ()) -> None:
        self.asked: list[str] = []
        self.batches: list[tuple[int, int]] = []
        self._broken = broken

    def loglikelihoods(
        self, pairs: Sequence[tuple[str, str]], wanted: Collection[int]
    ) -> Iterator[tuple[int, tuple[float, bool] | Unscored]]:
        self.batches.append((len(pairs), len(wanted)))
        for index in sorted(wanted, reverse=True):
            text, continuation = pairs[index]
            self.asked.append(text)
            yield index, Unscored("it broke") if text in self._broken else (-float(len(continuation)), False)

    def rolling(self, texts: Sequence[str], wanted: Collection[int]) -> Iterator[tuple[int, float | Unscored]]:
        return ((index, -float(len(texts[index]))) for index in wanted)

    def generate(
        self, prompts: Sequence[tuple[str, Generation]], wanted: Collection[int]
    ) -> Iterator[tuple[int, str | Unscored]]:
        return ((index, prompts[index][0].upper()) for index in wanted)

    def render(self, messages: list[dict[str, str]], *, add_generation_prompt: bool = True) -> str:
        return "".join(message["content"] for message in messages)


class Choices:
    """Two choices a question; the longer one loses."""

    name = "choices"

    def __init__(self, n: int, problems: Mapping[int, str] | None = None) -> None:
        found = problems or {}
        self.samples = [
            Sample(i, tuple(Request("loglikelihood", f"q{i}", "x" * k) for k in (1, 2)), found.get(i))
            for i in range(n)
        ]

    def score(self, sample: Sample, answers: Sequence[Answer]) -> Mapping[str, Any]:
        if sample.id == 7:
            raise ZeroDivisionError("seven")
        return {"acc": float(answers[0] > answers[1])}  # type: ignore[operator]

    def aggregate(self, results: Iterable[Result], *, n_bootstrap: int) -> Mapping[str, Any]:
        return {}


def test_every_sample_gets_a_result_as_soon_as_its_requests_are_answered() -> None:
    model = Counting()
    steps = evaluate(Choices(5), model)
    assert next(steps).sample == 4 and len(model.asked) == 2
    assert sorted(result.sample for result in steps) == [0, 1, 2, 3]


def test_resume_asks_the_model_only_for_unfinished_samples() -> None:
    task = Choices(6)
    done = list(evaluate(task, Counting()))[:4]
    model = Counting()
    rest = list(evaluate(task, model, done))
    assert {result.sample for result in done} | {result.sample for result in rest} == set(range(6))
    assert set(model.asked) == {f"q{result.sample}" for result in rest} and len(rest) == 2
    assert model.batches == [(12, 4)]  # the plan is still that of all requests


def test_E7_a_finished_run_asks_the_model_nothing() -> None:
    task = Choices(6)
    model = Counting()
    assert list(evaluate(task, model, list(evaluate(task, Counting())))) == []
    assert model.asked == [] and model.batches == []


def test_long_tasks_are_asked_in_chunks_that_do_not_move() -> None:
    task = Choices(2 * CHUNK_SAMPLES + 5, {})
    task.samples = [sample for sample in task.samples if sample.id != 7]
    model = Counting()
    list(evaluate(task, model))
    assert [n for n, _ in model.batches] == [2 * CHUNK_SAMPLES, 2 * CHUNK_SAMPLES, 8]


def test_E14_a_sample_that_raises_is_left_out_with_its_reason_and_the_run_goes_on() -> None:
    results = {result.sample: result for result in evaluate(Choices(40), Counting())}
    assert len(results) == 40 and results[7].error == "ZeroDivisionError: seven"
    assert [result.sample for result in results.values() if result.error] == [7]


def test_E11_a_sample_that_cannot_be_asked_is_unscored_not_wrong() -> None:
    model = Counting(broken={"q3"})
    results = {r.sample: r for r in evaluate(Choices(60, {2: "no right answer"}), model)}
    assert results[2].error == "no right answer" and "q2" not in model.asked
    assert results[3].error == "it broke" and results[3].scores == {}
    assert results[4].error is None


class Passing(Counting):
    """Fails at one text for a passing reason, so many times."""

    def __init__(self, text: str, n_failures: int) -> None:
        super().__init__()
        self.n_failures, self._text = n_failures, text

    def loglikelihoods(
        self, pairs: Sequence[tuple[str, str]], wanted: Collection[int]
    ) -> Iterator[tuple[int, tuple[float, bool] | Unscored]]:
        is_failing = self.n_failures > 0
        self.n_failures -= 1
        for index, answer in super().loglikelihoods(pairs, wanted):
            fails = is_failing and pairs[index][0] == self._text
            yield index, Unscored("no memory", is_passing=True) if fails else answer


def test_what_fails_for_a_passing_reason_is_asked_again_and_only_that() -> None:
    model = Passing("q3", ATTEMPTS - 1)
    results = {result.sample: result for result in evaluate(Choices(6), model)}
    assert results == {result.sample: result for result in evaluate(Choices(6), Counting())}
    assert model.batches == [(12, 12), *[(12, 2)] * (ATTEMPTS - 1)]


def test_a_reason_that_does_not_pass_in_a_few_attempts_leaves_the_sample_open() -> None:
    task, model = Choices(6), Passing("q3", 100)
    results = {result.sample: result for result in evaluate(task, model)}
    assert (results[3].error, results[3].is_passing) == ("no memory", True) and len(model.batches) == ATTEMPTS
    again = list(evaluate(task, Counting(), list(results.values())))
    assert [(result.sample, result.error) for result in again] == [(3, None)]


def test_prompts_that_lost_their_beginning_are_counted_in_the_result() -> None:
    class Short(Counting):
        def generate(
            self, prompts: Sequence[tuple[str, Generation]], wanted: Collection[int]
        ) -> Iterator[tuple[int, Cut | str]]:
            return ((i, Cut(prompts[i][0]) if len(prompts[i][0]) > 3 else prompts[i][0]) for i in wanted)

    class Echo(Choices):
        def score(self, sample: Sample, answers: Sequence[Answer]) -> Mapping[str, Any]:
            return {"same": float(answers[0] == sample.requests[0].text)}

    task = Echo(2)
    task.samples = [
        Sample(i, (Request("generate", text, generation=Generation((), 1)),)) for i, text in enumerate(["abc", "abcd"])
    ]
    results = sorted(evaluate(task, Short()), key=lambda result: result.sample)
    assert [(result.n_cut, result.scores) for result in results] == [(0, {"same": 1.0}), (1, {"same": 1.0})]
    assert count_cut(results) == (1, 2)


def test_E11_too_many_errors_end_the_run_with_the_reason() -> None:
    broken = {f"q{i}" for i in range(10)}
    with pytest.raises(EvaluationError, match="choices: 2 samples could not be scored.*it broke"):
        list(evaluate(Choices(20), Counting(broken)))


def test_E11_a_run_that_ended_so_says_the_same_at_once_when_it_is_resumed() -> None:
    done = [Result(i, (), {}, f"reason {i}") for i in range(2)]
    model = Counting()
    with pytest.raises(EvaluationError, match="2 samples could not be scored.*The last reason: reason 1"):
        list(evaluate(Choices(20), model, done))
    assert model.asked == []


def test_E8_closing_the_iterator_stops_the_model_at_once() -> None:
    model = Counting()
    steps = evaluate(Choices(50), model)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert len(model.asked) == 2
