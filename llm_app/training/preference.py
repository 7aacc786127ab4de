"""Preference tuning: pairs of a better and a worse answer -> a LoRA, by the loop of all training and TRL's DPO loss.

A run saves, resumes and stops as any other. Its loss is that of the pairs; reward accuracy and margin are told with
each validation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from llm_app.training.base import Base
from llm_app.training.config import TrainConfig
from llm_app.training.events import Event, Note, Step, Validation
from llm_app.training.pairs import Pair, check_pairs
from llm_app.training.preference_learner import PreferenceLearner, Rewards
from llm_app.training.trainer import Trainer


class PreferenceTrainer(Trainer):
    """A training run on pairs; all that a Trainer is, in one process.

    Raises: UserError if no pair says anything, or a target names no layer.
    """

    def __init__(
        self, base: Base, config: TrainConfig, train: Sequence[Pair], validation: Sequence[Pair] = ()
    ) -> None:
        # Pairs are padded, as TRL does it, and nothing is to blur the difference between their answers.
        config = replace(config, packs=False, neftune=0.0, dropout=0.0)
        check_pairs(train)
        self._pairs = PreferenceLearner(base, config)
        useful = [[pair for pair in pairs if any(pair.trained)] for pairs in (train, validation)]
        super().__init__(base, config, *useful, learner=self._pairs)

    def run(self) -> Iterator[Event]:
        """As any training run; after each validation, how often and by how much the better answer is preferred."""
        self._pairs.take_rewards()
        for event in super().run():
            rewards = self._pairs.take_rewards()
            match event:
                case Step():
                    yield replace(event, n_trained_tokens=rewards.n_answer_tokens)
                case Validation():
                    yield replace(event, n_trained_tokens=rewards.n_answer_tokens)
                    if rewards.n_pairs:
                        yield Note(event.step, "rewards", _told(rewards))
                case _:
                    yield event


def _told(rewards: Rewards) -> str:
    return (
        f"On {rewards.n_pairs} held-back pairs: the better answer has the higher reward in {rewards.accuracy:.1%}, "
        f"by {rewards.margin:+.4f} on average."
    )
