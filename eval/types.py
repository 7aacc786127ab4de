"""What an evaluation is made of: a task gives samples, a model answers their requests, results hold the scores."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Kind = Literal["loglikelihood", "rolling", "generate"]
Answer = tuple[float, bool] | float | str  # of the three kinds, in this order


class EvaluationError(Exception):
    """The person can mend it; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class Generation:
    """How text is generated; it ends before any of `stop`."""

    stop: tuple[str, ...]
    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Request:
    """One question to the model.

    loglikelihood: how likely `continuation` is after `text`; rolling: how likely `text` is; generate: what follows it.
    """

    kind: Kind
    text: str
    continuation: str = ""
    generation: Generation | None = None


@dataclass(frozen=True)
class Unscored:
    """An answer that could not be had; the sample is left out of the score, not counted as wrong.

    `is_passing`: for a reason that may be gone later, such as too little memory; it is worth asking again.
    """

    reason: str
    is_passing: bool = False


@dataclass(frozen=True)
class Cut:
    """The answer to a prompt that lost its beginning, since it was longer than the context."""

    answer: Answer


Given = Answer | Cut | Unscored  # what a model gives for a request


@dataclass(frozen=True)
class Sample:
    """One item of a task. `problem` says why it cannot be asked."""

    id: int
    requests: tuple[Request, ...]
    problem: str | None = None


@dataclass(frozen=True)
class Result:
    """What came of one sample: the answers to its requests in order, and its scores, or why there are none.

    `n_cut`: prompts of it that lost their beginning; `is_passing`: the error may be gone when it is asked again.
    """

    sample: int
    answers: tuple[Answer, ...]
    scores: Mapping[str, Any]
    error: str | None = None
    n_cut: int = 0
    is_passing: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether it has a score, for which not all of its prompt was read."""
        return self.n_cut > 0 and self.error is None


def count_cut(results: Sequence[Result]) -> tuple[int, int]:
    """(samples whose prompt lost its beginning, samples) of those that have a score."""
    return sum(result.is_cut for result in results), sum(result.error is None for result in results)


@dataclass(frozen=True)
class GroupMetric:
    """How the scores of several tasks become one: their mean, by `weights`, or by their samples where that is None.

    `name`: the metric, the first of each task where it is empty; `filters`: where a task has several, the one to take.
    """

    name: str
    filters: tuple[str, ...] = ()
    weights: Mapping[str, float] | None = None


@dataclass(frozen=True)
class TaskGroup:
    """Several tasks that were asked for by one name and have one score, such as mmlu. The first metric is its own."""

    name: str
    version: str
    tasks: tuple[str, ...]
    metrics: tuple[GroupMetric, ...]


class Model(Protocol):
    """Whoever answers. Each method gives (index, answer) in any order.

    Only the indices in `wanted` need an answer; the others are there so that the same requests can always be batched
    in the same way, which makes the numbers of an interrupted run those of an undisturbed one.
    """

    def loglikelihoods(
        self, pairs: Sequence[tuple[str, str]], wanted: Collection[int]
    ) -> Iterator[tuple[int, Given]]:
        """(sum of log-probabilities in nats, whether greedy decoding gives it) of continuations after contexts."""
        ...

    def rolling(self, texts: Sequence[str], wanted: Collection[int]) -> Iterator[tuple[int, Given]]:
        """Log-probability of whole texts, in nats."""
        ...

    def generate(
        self, prompts: Sequence[tuple[str, Generation]], wanted: Collection[int]
    ) -> Iterator[tuple[int, Given]]:
        """Text that follows the prompts."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens that `rolling` scores in each text."""
        ...

    def render(self, messages: list[dict[str, str]], *, add_generation_prompt: bool = True) -> str:
        """A conversation as the model's chat template writes it."""
        ...


class Task(Protocol):
    """Samples and what their answers are worth."""

    @property
    def name(self) -> str:
        """As the person typed it."""
        ...

    @property
    def samples(self) -> Sequence[Sample]:
        """All items, in order."""
        ...

    def score(self, sample: Sample, answers: Sequence[Answer]) -> Mapping[str, Any]:
        """Scores of one sample by name of the metric.

        Raises: any exception if the answers cannot be scored; the sample is then left out.
        """
        ...

    def aggregate(self, results: Iterable[Result], *, n_bootstrap: int) -> Mapping[str, Any]:
        """Scores of the whole, with standard errors."""
        ...
