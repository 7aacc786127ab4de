"""The training of a classifier, to whose rows the loop asks for labels or a value."""

from collections.abc import Sequence

import torch
from torch import Tensor

from llm_app.classify.config import ClassifierConfig
from llm_app.classify.network import Row
from llm_app.classify.training.augment import augmented
from llm_app.classify.training.examples import Examples
from llm_app.classify.training.learner import Learner
from llm_app.classify.training.loop import Loop, Part, by_length, for_the_curve
from llm_app.classify.training.targets import Objective, Problem, check_learnable, metric_of, score


class ClassifierTrainer(Loop):
    """One training run of an encoder, a LoRA head or an LSTM.

    Raises: UserError if there is nothing to tell apart.
    """

    def __init__(
        self, learner: Learner, config: ClassifierConfig, problem: Problem, train: Examples, validation: Examples
    ) -> None:
        check_learnable(problem, train.truths)
        self.config, self._problem, self._train = config.for_rows(len(train)), problem, train
        wanted = problem.tensor(train.truths)
        self._centre, self._spread = _scale(problem, wanted, learner)
        self._objective = Objective(problem, wanted, weighs_classes=config.weighs_classes)
        self._encoded, self._wanted = learner.network.rows(train.items), self._scaled(wanted)
        super().__init__(
            learner, self.config, [len(row.ids) for row in self._encoded],
            metric_of(problem, weighs_classes=config.weighs_classes),
        )
        held, held_wanted = learner.network.rows(validation.items), self._scaled(problem.tensor(validation.truths))
        self._validation = self._part(held, held_wanted)
        places = for_the_curve(len(train), len(validation))
        self._shown = self._part([self._encoded[place] for place in places], self._wanted[places])

    @property
    def n_cut(self) -> int:
        """Rows to train on that lost their end."""
        return sum(row.n_cut > 0 for row in self._encoded)

    @property
    def scale(self) -> tuple[float, float]:
        """Of a regression, what an output is multiplied by and what is then added, for the value it stands for."""
        return self._spread, self._centre

    @property
    def validation(self) -> Part:
        """Rows held back."""
        return self._validation

    @property
    def shown(self) -> Part:
        """Rows of the learning curve."""
        return self._shown

    def batch(self, places: Sequence[int], epoch: int) -> Part:
        """The rows at these places, as this epoch sees them."""
        how, seed = self.config.augmentation, self.config.seed
        rows = [self._encoded[place] for place in places]
        if how != "none":
            rows = self.learner.network.rows(
                [augmented(self._train.items[place], how, seed=seed, epoch=epoch, row=place) for place in places]
            )
        wanted = self._wanted[list(places)]
        return Part(rows, wanted, self._objective.weight(wanted), len(rows))

    def loss(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Sum over rows, weighted."""
        return self._objective.losses(logits, wanted.to(logits.device)).sum()

    def read(self, rows: Sequence[Row], logits: Tensor) -> Sequence[Tensor]:
        """The logits of each row."""
        return list(logits.cpu())

    def score(self, found: Sequence[Tensor], part: Part) -> float:
        """The metric; of values their order counts, which scaling leaves alone."""
        return score(self.metric, self._problem, torch.stack(list(found)), part.wanted)

    def _part(self, rows: Sequence[Row], wanted: Tensor) -> Part:
        order = by_length(rows)
        weight = self._objective.weight(wanted)
        return Part([rows[place] for place in order], wanted[order], weight, len(rows))

    def _scaled(self, wanted: Tensor) -> Tensor:
        """Values of a regression with mean 0 and deviation 1, so that one learning rate suits them all."""
        return (wanted - self._centre) / self._spread if self._problem.kind == "regression" else wanted


def _scale(problem: Problem, wanted: Tensor, learner: Learner) -> tuple[float, float]:
    """Mean and deviation of a regression's values."""
    if problem.kind != "regression":
        return 0.0, 1.0
    spread = float(wanted.std(unbiased=False)) or 1.0
    # A head without a bias could not add the mean again.
    return (float(wanted.mean()) if learner.has_bias else 0.0), spread
