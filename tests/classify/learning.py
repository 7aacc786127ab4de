"""Small tables that can be learned: two words say which label a row has, the others say nothing."""

import random
from collections.abc import Sequence

from llm_app.classify.config import ClassifierConfig
from llm_app.classify.network import Row
from llm_app.classify.training.examples import Examples
from llm_app.classify.training.targets import Problem
from llm_app.classify.training.trainer import ClassifierTrainer
from llm_app.classify.types import Item, Truth

SIGNS = {"negative": ("boring", "terrible"), "positive": ("brilliant", "great")}
FILLING = ("a", "film", "it", "movie", "of", "plot", "story", "the", "this", "very", "was", "you")
SINGLE = Problem("single", ("negative", "positive"))


def rows(n: int, seed: int = 0) -> tuple[list[Item], list[Truth]]:
    """Sentences of 3 to 9 words, one of which decides; as many of one label as of the other."""
    drawn = random.Random(seed)
    items, truths = list[Item](), list[Truth]()
    for number in range(n):
        label = ("negative", "positive")[number % 2]
        words = [drawn.choice(FILLING) for _ in range(drawn.randint(2, 8))]
        words.insert(drawn.randrange(len(words) + 1), drawn.choice(SIGNS[label]))
        items.append(Item(" ".join(words)))
        truths.append(label)
    return items, truths


def examples(n: int, seed: int = 0) -> Examples:
    """The same, side by side."""
    return Examples(*rows(n, seed))


def trained(trainer: ClassifierTrainer) -> ClassifierTrainer:
    """The trainer at its end."""
    for _ in trainer.run():
        pass
    return trainer


def logits_of(trainer: ClassifierTrainer, items: Sequence[Item]) -> list[list[float]]:
    """What it gives without dropout."""
    trainer.learner.trains(False)
    found: list[Row] = trainer.learner.network.rows(items)
    values: list[list[float]] = trainer.learner.logits(found, 0).tolist()
    return values


LSTM = ClassifierConfig(method="lstm", epochs=2.0, batch_size=16, precision="fp32", learning_rate=1e-2)
