"""The training loop of whatever reads rows: an iterator of events. Between any two it can be saved, and goes on
bit-equal.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from llm_app.classify.network import Row
from llm_app.classify.training.batches import Batches, passes
from llm_app.classify.training.events import Point
from llm_app.classify.training.learner import Learner
from llm_app.training.events import Note, Saved, Step
from llm_app.training.optim import AdamW, Scheduled, clip, rate_at
from llm_app.training.processes import peak_memory_bytes
from llm_app.training.product import mixed
from llm_app.training.state import TrainerState, put_back, taken
from llm_app.training.trainer import N_VALIDATIONS, TrainingDiverged

MAX_GRADIENT_NORM = 1.0
# Of one pass, padding and all: a batch of long rows takes several, of short ones a single one.
PASS_TOKENS, CHECK_TOKENS = 2048, 4096
# Rows on which the training score is taken: as many as are held back, within these bounds.
LEAST_CURVE, MOST_CURVE = 100, 500
Told = Step | Point | Note | Saved


class LoopOptions(Scheduled, Protocol):
    """Options of a training, as far as the loop asks for them."""

    @property
    def n_epochs(self) -> float:
        """How often each row is seen."""
        ...

    @property
    def batch_size(self) -> int:
        """Rows of a step."""
        ...

    @property
    def weight_decay(self) -> float:
        """AdamW's."""
        ...

    @property
    def patience(self) -> int:
        """Validations without gain after which it ends; 0 never."""
        ...

    @property
    def seed(self) -> int:
        """Decides order and dropout."""
        ...


@dataclass(frozen=True)
class Part:
    """Rows, and side by side what each is to give: a tensor or a list, for whose loss the loop asks.

    `weight`: what the sum of the losses is divided by; `n_targets`: how many there are.
    """

    rows: Sequence[Row]
    wanted: Any
    weight: float
    n_targets: int

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(row.ids) for row in self.rows]


@dataclass(frozen=True)
class Progress:
    """Where a run is."""

    step: int = 0
    validated: int = -1  # the step after which was validated last
    best_step: int = -1
    best_score: float = -math.inf
    best_loss: float = math.inf  # decides between equal scores
    n_stale: int = 0  # validations in a row without gain
    is_over: bool = False


class Loop(ABC):
    """One training run. What rows are, what is asked of them and how good the answers are is for others to say.

    `lengths`: of the rows to train on, in tokens. `metric`: the score by which weights are chosen, higher is better.
    """

    def __init__(self, learner: Learner, options: LoopOptions, lengths: Sequence[int], metric: str) -> None:
        self.learner, self.metric, self._options = learner, metric, options
        self._batches = Batches(lengths, options.batch_size, options.seed)
        self.n_steps = self._batches.n_steps(options.n_epochs)
        self._optimizer = AdamW(learner.weights, options.weight_decay)
        self._progress = Progress()
        self._is_asked_to_stop = False

    # What a kind of training says of itself ----------------------------------------------------------------------

    @property
    @abstractmethod
    def validation(self) -> Part:
        """Rows held back to choose the weights by; without any there are no validations."""

    @property
    @abstractmethod
    def shown(self) -> Part:
        """Some of the rows to train on, always the same, for the learning curve."""

    @abstractmethod
    def batch(self, places: Sequence[int], epoch: int) -> Part:
        """The rows to train on at these places, as this epoch sees them."""

    @abstractmethod
    def loss(self, logits: Tensor, wanted: Any) -> Tensor:
        """Sum over rows that went through together."""

    @abstractmethod
    def read(self, rows: Sequence[Row], logits: Tensor) -> Sequence[Any]:
        """What each of these rows got, for `score`."""

    @abstractmethod
    def score(self, found: Sequence[Any], part: Part) -> float:
        """The metric, of what `read` gave for the rows of a part."""

    # Where it is -------------------------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """Steps done."""
        return self._progress.step

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do: all steps are done, or patience was lost."""
        return self.step >= self.n_steps or self._progress.is_over

    @property
    def best_step(self) -> int | None:
        """After which step the validation score was highest; None before the first validation."""
        return self._progress.best_step if self._progress.best_step >= 0 else None

    @property
    def n_validation(self) -> int:
        """Rows held back to choose the weights by."""
        return len(self.validation.rows)

    @property
    def validates_every(self) -> int:
        """Steps between two validations."""
        return math.ceil(self.n_steps / N_VALIDATIONS)

    def stop(self) -> None:
        """End between two steps."""
        self._is_asked_to_stop = True

    def run(self) -> Iterator[Told]:
        """Train from where the run is to its end.

        Raises: TrainingDiverged.
        """
        yield from self._validated()
        while not self.is_over and not self._is_asked_to_stop:
            yield self._one_step()
            yield from self._validated()

    def state(self) -> TrainerState:
        """Copies of everything that decides what comes next. Order and dropout are decided by seed and step."""
        return taken(self.learner.weights, self._optimizer, self._progress)

    def restore(self, state: TrainerState) -> None:
        """Go on from there.

        Raises: UserError if the state belongs to other weights than these.
        """
        others = "another model or of other labels"
        self._progress = Progress(**put_back(state, self.learner.weights, self._optimizer, of_others=others))

    # One step ----------------------------------------------------------------------------------------------------

    def _one_step(self) -> Step:
        started, step = time.perf_counter(), self.step
        batch = self.batch(self._batches.rows(step), step // self._batches.n_an_epoch)
        rate = rate_at(step, self.n_steps, self._options)
        loss = self._gradients(batch)
        norm = clip(self.learner.weights.gradient, MAX_GRADIENT_NORM)
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise TrainingDiverged(
                f"The loss or its gradient became NaN or infinite at step {step + 1}, with learning rate {rate:.2g}: it"
                " was not taken. Lower the learning rate.", param="learning_rate",
            )
        self._optimizer.step(rate)
        self._progress = replace(self._progress, step=step + 1)
        return Step(
            step=self.step, n_steps=self.n_steps, epoch=round(self.step / self._batches.n_an_epoch, 4), loss=loss,
            learning_rate=rate, gradient_norm=norm, n_tokens=sum(batch.lengths), n_trained_tokens=batch.n_targets,
            seconds=time.perf_counter() - started, memory_bytes=peak_memory_bytes(self.learner.weights.flat.device),
        )  # fmt: skip

    def _gradients(self, batch: Part) -> float:
        """Fill the gradient of the mean loss over these rows; gives that mean."""
        self.learner.weights.gradient.zero_()
        self.learner.trains(True)
        total = 0.0
        for places in passes(batch.lengths, PASS_TOKENS):
            part = slice(places.start, places.stop)
            logits = self.learner.logits(batch.rows[part], mixed(self._options.seed, self.step, places.start))
            loss = self.loss(logits, batch.wanted[part]) / batch.weight
            loss.backward()
            total += loss.item()
        return total

    # Validation --------------------------------------------------------------------------------------------------

    def _validated(self) -> Iterator[Told]:
        """Validate if it is due and has not been done; decide whether to go on."""
        step, before = self.step, self._progress
        is_due = step >= self.n_steps or step % self.validates_every == 0
        if not is_due or before.validated == step or not self.n_validation:
            return
        (loss, found), (training_loss, training_score) = self._checked(self.validation), self._checked(self.shown)
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"The loss on the rows held back is NaN or infinite after step {step}. Lower the learning rate.",
                param="learning_rate",
            )
        is_gain = (found, -loss) > (before.best_score, -before.best_loss)
        n_stale = 0 if is_gain else before.n_stale + 1
        self._progress = replace(
            before, validated=step, n_stale=n_stale,
            best_step=step if is_gain else before.best_step, best_score=found if is_gain else before.best_score,
            best_loss=loss if is_gain else before.best_loss,
            is_over=0 < self._options.patience <= n_stale and step < self.n_steps,
        )
        n_shown = len(self.shown.rows)
        yield Point(step, self.metric, loss, found, training_loss, training_score, self.n_validation, n_shown)
        if self._progress.is_over:
            best = self._progress.best_step
            text = f"No gain in {n_stale} validations: stopped. The best was after step {best}."
            text_zh = f"连续 {n_stale} 次验证没有进步：已停止。最好的是第 {best} 步之后。"
            yield Note(step, "stopped_early", text, text_zh)

    @torch.no_grad()
    def _checked(self, part: Part) -> tuple[float, float]:
        """Mean loss and score."""
        self.learner.trains(False)
        total, found = 0.0, list[Any]()
        for places in passes(part.lengths, CHECK_TOKENS):
            chosen = slice(places.start, places.stop)
            logits = self.learner.logits(part.rows[chosen], 0)
            total += float(self.loss(logits, part.wanted[chosen]))
            if not math.isfinite(total):
                return total, 0.0
            found += self.read(part.rows[chosen], logits)
        return total / part.weight, self.score(found, part)


def by_length(rows: Sequence[Row]) -> list[int]:
    """Places of the rows, the short ones first, so that passes hold little padding."""
    return sorted(range(len(rows)), key=lambda place: len(rows[place].ids))


def for_the_curve(n_rows: int, n_validation: int) -> list[int]:
    """Places of rows to train on whose score stands in the curve: spread over them, since a table is often sorted.

    As many as rows held back, so that they cost no more; a table of few rows has at least LEAST_CURVE of them, since
    the error of a handful jumps.
    """
    n_shown = min(n_rows, MOST_CURVE, max(n_validation, LEAST_CURVE))
    return [number * n_rows // n_shown for number in range(n_shown)]
