"""A task put to a model, sample by sample."""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from eval.types import Answer, Cut, EvaluationError, Given, Kind, Model, Request, Result, Sample, Task, Unscored

CHUNK_SAMPLES = 256  # asked together; always the same, so that batches do not depend on where a run was interrupted
MAX_ERROR_SHARE = 0.05
ATTEMPTS = 3  # at an answer that could not be had for a passing reason


def evaluate(task: Task, model: Model, done: Sequence[Result] = ()) -> Iterator[Result]:
    """Results of the samples that are not `done` yet, each as soon as all its requests are answered.

    Close the iterator to stop. To resume, call it again with what is done: batches without an open sample are not run.
    A result whose error is passing is not done.
    Raises: EvaluationError when more than one sample, and more than one in twenty, cannot be scored.
    """
    finished = {result.sample for result in done if not result.is_passing}
    errors = [result.error for result in done if result.error is not None and not result.is_passing]
    n_bearable = max(1, int(MAX_ERROR_SHARE * len(task.samples)))
    remaining = iter(task.samples)
    while chunk := list(islice(remaining, CHUNK_SAMPLES)):
        _check(task, errors, n_bearable)
        for result in _chunk(task, model, chunk, finished):
            yield result
            if result.error is not None:
                errors.append(result.error)
                _check(task, errors, n_bearable)


def _check(task: Task, errors: Sequence[str], n_bearable: int) -> None:
    if len(errors) > n_bearable:
        raise EvaluationError(
            f"{task.name}: {len(errors)} samples could not be scored, more than {MAX_ERROR_SHARE:.0%}."
            f" The last reason: {errors[-1]}"
        )


def _chunk(task: Task, model: Model, chunk: Sequence[Sample], finished: set[int]) -> Iterator[Result]:
    open_samples = {sample.id: sample for sample in chunk if sample.id not in finished}
    answers: dict[int, list[Given | None]] = {}
    for sample in open_samples.values():
        if sample.problem is not None or not sample.requests:
            yield Result(sample.id, (), {}, sample.problem or "the task asks nothing about this sample")
        else:
            answers[sample.id] = [None] * len(sample.requests)
    by_id = {sample.id: sample for sample in chunk}
    kinds: tuple[Kind, ...] = ("loglikelihood", "rolling", "generate")
    for kind in kinds:
        # What is done is named to the model as well: its batches are those of the whole chunk.
        places = [
            (sample.id, number)
            for sample in chunk if sample.problem is None
            for number, request in enumerate(sample.requests) if request.kind == kind
        ]
        wanted = {index for index, (sample_id, _) in enumerate(places) if sample_id in answers}
        requests = [by_id[sample_id].requests[number] for sample_id, number in places]
        for index, answer in _ask_patiently(model, kind, requests, wanted):
            sample_id, number = places[index]
            answers[sample_id][number] = answer
            if None not in answers[sample_id]:
                yield _result(task, open_samples[sample_id], answers.pop(sample_id))


def _ask_patiently(
    model: Model, kind: Kind, requests: Sequence[Request], wanted: set[int]
) -> Iterator[tuple[int, Given]]:
    """One answer to each that is wanted; what fails for a passing reason is asked again, a few times."""
    open_ones = set(wanted)
    for attempt in range(ATTEMPTS):
        if not open_ones:
            return
        for index, answer in _ask(model, kind, requests, frozenset(open_ones)):
            is_passing = isinstance(answer, Unscored) and answer.is_passing
            if index in open_ones and (not is_passing or attempt == ATTEMPTS - 1):
                open_ones.remove(index)
                yield index, answer


def _ask(model: Model, kind: Kind, requests: Sequence[Request], wanted: Collection[int]) -> Iterator[tuple[int, Given]]:
    if kind == "loglikelihood":
        return model.loglikelihoods([(request.text, request.continuation) for request in requests], wanted)
    if kind == "rolling":
        return model.rolling([request.text for request in requests], wanted)
    prompts = [(request.text, request.generation) for request in requests if request.generation is not None]
    assert len(prompts) == len(requests)
    return model.generate(prompts, wanted)


def _result(task: Task, sample: Sample, given: Sequence[Given | None]) -> Result:
    answers: list[Answer] = []
    for answer in given:
        if isinstance(answer, Unscored):
            return Result(sample.id, (), {}, answer.reason, is_passing=answer.is_passing)
        assert answer is not None
        answers.append(answer.answer if isinstance(answer, Cut) else answer)
    n_cut = sum(isinstance(answer, Cut) for answer in given)
    try:
        return Result(sample.id, tuple(answers), task.score(sample, answers), n_cut=n_cut)
    except Exception as error:  # a task's own code, on data of any kind: this sample is left out, the run goes on
        is_passing = isinstance(error, OSError | MemoryError)  # the machine's fault, not the sample's
        return Result(sample.id, tuple(answers), {}, f"{type(error).__name__}: {error}", n_cut, is_passing)
