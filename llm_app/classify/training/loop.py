"""The training loop of a classifier: an iterator of events. Between any two it can be saved, and goes on bit-equal."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from llm_app.classify.config import ClassifierConfig
from llm_app.classify.network import Row
from llm_app.classify.training.augment import augmented
from llm_app.classify.training.batches import Batches, passes
from llm_app.classify.training.events import Point
from llm_app.classify.training.examples import Examples
from llm_app.classify.training.learner import Learner
from llm_app.classify.training.targets import Objective, Problem, check_learnable, metric_of, score
from llm_app.errors import UserError
from llm_app.training.events import Note, Saved, Step
from llm_app.training.optim import AdamW, clip, rate_at
from llm_app.training.processes import peak_memory_bytes
from llm_app.training.product import mixed
from llm_app.training.trainer import N_VALIDATIONS, TrainerState, TrainingDiverged

MAX_GRADIENT_NORM = 1.0
# Of one pass, padding and all: a batch of long rows takes several, of short ones a single one.
PASS_TOKENS, CHECK_TOKENS = 2048, 4096
N_CURVE = 500  # rows at most on which the training score is taken
Told = Step | Point | Note | Saved


@dataclass(frozen=True)
class _Part:
    """Rows as the model takes them, by length, and their targets in the same order."""

    rows: list[Row]
    wanted: Tensor


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


class ClassifierTrainer:
    """One training run of an encoder, a LoRA head or an LSTM.

    Raises: UserError if there is nothing to tell apart.
    """

    def __init__(
        self, learner: Learner, config: ClassifierConfig, problem: Problem, train: Examples, validation: Examples
    ) -> None:
        check_learnable(problem, train.truths)
        self.learner, self.config, self._problem, self._train = learner, config, problem, train
        self._wanted = problem.tensor(train.truths)
        self._encoded = learner.network.rows(train.items)
        self._centre, self._spread = _scale(problem, self._wanted, learner)
        self._objective = Objective(problem, self._wanted, weighs_classes=config.weighs_classes)
        self._metric = metric_of(problem, weighs_classes=config.weighs_classes)
        self._batches = Batches([len(row.ids) for row in self._encoded], config.batch_size, config.seed)
        self.n_steps = self._batches.n_steps(config.n_epochs)
        self._validation = _part(learner.network.rows(validation.items), problem.tensor(validation.truths))
        # Spread over the rows: a table is often sorted.
        shown = range(0, len(train), max(1, len(train) // min(N_CURVE, max(len(validation), 1))))
        self._shown = _part([self._encoded[row] for row in shown], self._wanted[list(shown)])
        self._optimizer = AdamW(learner.weights, config.weight_decay)
        self._progress = Progress()
        self._is_asked_to_stop = False

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
        """Rows held back to choose the weights by; without any there are no validations."""
        return len(self._validation.rows)

    @property
    def validates_every(self) -> int:
        """Steps between two validations."""
        return math.ceil(self.n_steps / N_VALIDATIONS)

    @property
    def n_cut(self) -> int:
        """Rows to train on that lost their end."""
        return sum(row.n_cut > 0 for row in self._encoded)

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

    # One step ----------------------------------------------------------------------------------------------------

    def _one_step(self) -> Step:
        started, step = time.perf_counter(), self.step
        places = self._batches.rows(step)
        rows = self._rows(places, step // self._batches.n_an_epoch)
        rate = rate_at(step, self.n_steps, self.config)
        loss = self._gradients(rows, self._wanted[places])
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
            learning_rate=rate, gradient_norm=norm, n_tokens=sum(len(row.ids) for row in rows),
            n_trained_tokens=len(rows), seconds=time.perf_counter() - started,
            memory_bytes=peak_memory_bytes(self.learner.weights.flat.device),
        )  # fmt: skip

    def _rows(self, places: Sequence[int], epoch: int) -> list[Row]:
        """As this epoch sees them."""
        how, seed = self.config.augmentation, self.config.seed
        if how == "none":
            return [self._encoded[place] for place in places]
        return self.learner.network.rows(
            [augmented(self._train.items[place], how, seed=seed, epoch=epoch, row=place) for place in places]
        )

    def _gradients(self, rows: Sequence[Row], wanted: Tensor) -> float:
        """Fill the gradient of the mean loss over these rows; gives that mean."""
        self.learner.weights.gradient.zero_()
        self.learner.trains(True)
        total, weight = 0.0, self._objective.weight(wanted)
        for places in passes([len(row.ids) for row in rows], PASS_TOKENS):
            part = slice(places.start, places.stop)
            logits = self.learner.logits(rows[part], mixed(self.config.seed, self.step, places.start))
            loss = self._objective.losses(logits, self._scaled(wanted[part]).to(logits.device)).sum() / weight
            loss.backward()
            total += loss.item()
        return total

    def _scaled(self, wanted: Tensor) -> Tensor:
        """Values of a regression with mean 0 and deviation 1, so that one learning rate suits them all."""
        return (wanted - self._centre) / self._spread if self._problem.kind == "regression" else wanted

    # Validation --------------------------------------------------------------------------------------------------

    def _validated(self) -> Iterator[Told]:
        """Validate if it is due and has not been done; decide whether to go on."""
        step, before = self.step, self._progress
        is_due = step >= self.n_steps or step % self.validates_every == 0
        if not is_due or before.validated == step or not self.n_validation:
            return
        (loss, found), (training_loss, training_score) = self._checked(self._validation), self._checked(self._shown)
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
            is_over=0 < self.config.patience <= n_stale and step < self.n_steps,
        )
        yield Point(step, self._metric, loss, found, training_loss, training_score, self.n_validation)
        if self._progress.is_over:
            text = f"No gain in {n_stale} validations: stopped. The best was after step {self._progress.best_step}."
            yield Note(step, "stopped_early", text)

    @torch.no_grad()
    def _checked(self, part: _Part) -> tuple[float, float]:
        """Mean loss and score."""
        self.learner.trains(False)
        lengths = [len(row.ids) for row in part.rows]
        found = [
            self.learner.logits(part.rows[places.start : places.stop], 0).cpu()
            for places in passes(lengths, CHECK_TOKENS)
        ]
        logits = torch.cat(found)
        losses = self._objective.losses(logits, self._scaled(part.wanted))
        loss = float(losses.sum()) / self._objective.weight(part.wanted)
        return loss, score(self._metric, self._problem, logits, part.wanted)

    # State -------------------------------------------------------------------------------------------------------

    def state(self) -> TrainerState:
        """Copies of everything that decides what comes next. Order and dropout are decided by seed and step."""
        weights = self.learner.weights
        tensors = {
            "weights": weights.flat.clone().cpu(), "first_moments": self._optimizer.first.clone().cpu(),
            "second_moments": self._optimizer.second.clone().cpu(),
        }  # fmt: skip
        progress = {key: value if abs(value) != math.inf else None for key, value in asdict(self._progress).items()}
        return TrainerState(tensors, {"progress": progress, "layout": self._layout()})

    def restore(self, state: TrainerState) -> None:
        """Go on from there.

        Raises: UserError if the state belongs to other weights than these.
        """
        if state.values["layout"] != self._layout():
            raise UserError("This checkpoint is of another model or of other labels: it cannot go on here.")
        self.learner.weights.flat.copy_(state.tensors["weights"])
        self._optimizer.first.copy_(state.tensors["first_moments"])
        self._optimizer.second.copy_(state.tensors["second_moments"])
        values: dict[str, Any] = {key: value for key, value in state.values["progress"].items() if value is not None}
        self._progress = Progress(**values)
        self._optimizer.set_steps(self.step)

    def _layout(self) -> list[list[Any]]:
        """Names and shapes of the trained weights, in their order."""
        weights = self.learner.weights
        return [[name, list(shape)] for name, shape in zip(weights.names, weights.shapes, strict=True)]

    @property
    def scale(self) -> tuple[float, float]:
        """Of a regression, what an output is multiplied by and what is then added, for the value it stands for."""
        return self._spread, self._centre


def _scale(problem: Problem, wanted: Tensor, learner: Learner) -> tuple[float, float]:
    if problem.kind != "regression":
        return 0.0, 1.0
    spread = float(wanted.std(unbiased=False)) or 1.0
    # A head without a bias could not add the mean again.
    return (float(wanted.mean()) if learner.has_bias else 0.0), spread


def _part(rows: Sequence[Row], wanted: Tensor) -> _Part:
    """By length, so that passes hold little padding."""
    order = sorted(range(len(rows)), key=lambda place: len(rows[place].ids))
    return _Part([rows[place] for place in order], wanted[order])
