"""A tiny model, examples of random tokens and a trainer over them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from llm_app.config import Settings
from llm_app.engine.catalog import ModelEntry
from llm_app.training.base import Base, load_base
from llm_app.training.config import TrainConfig
from llm_app.training.trainer import Trainer

VOCABULARY = 400  # of the tiny models, without the specials


@dataclass(frozen=True)
class Given:
    """An example as tokens."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]


def some_examples(n: int, *, seed: int = 0, longest: int = 40) -> list[Given]:
    """A prompt that is not trained on, then an answer that is: of many lengths, some of them two tokens only."""
    draw = random.Random(seed)
    examples = []
    for _ in range(n):
        n_prompt, n_answer = draw.randint(1, longest // 2), draw.randint(1, longest // 2)
        # Every third token follows from the one before it, so that there is something to learn.
        ids = [draw.randrange(VOCABULARY)]
        for place in range(1, n_prompt + n_answer):
            ids.append((ids[-1] * 7 + 3) % VOCABULARY if place % 3 else draw.randrange(VOCABULARY))
        examples.append(Given(tuple(ids), (False,) * n_prompt + (True,) * n_answer))
    return examples


def tiny_config(**changes: Any) -> TrainConfig:
    """float32, no dropout: what can be compared to the last digit."""
    fields: dict[str, Any] = {
        "precision": "fp32", "device": "cpu", "dropout": 0.0, "rank": 4, "alpha": 8.0, "batch_size": 4,
        "accumulation": 2, "max_steps": 6, "learning_rate": 3e-3, "warmup": 0.0, "validate_every": 3,
    }  # fmt: skip
    return TrainConfig(**(fields | changes))


def tiny_base(folder: Path, config: TrainConfig, home: Path) -> Base:
    """The model in this folder or GGUF file, made ready."""
    kind = "gguf" if folder.suffix == ".gguf" else "folder"
    return load_base(ModelEntry(folder.name, kind, folder, folder.name), config, Settings(home=home))


def tiny_trainer(
    folder: Path, config: TrainConfig, home: Path, *, examples: Sequence[Given] | None = None, n_validation: int = 0
) -> Trainer:
    """A trainer over 20 examples, or over those given."""
    train = some_examples(20) if examples is None else examples
    return Trainer(tiny_base(folder, config, home), config, train, some_examples(n_validation, seed=1))


def set_lora(trainer: Trainer, seed: int = 7) -> None:
    """Give the matrices that start at zero random values, so that they count."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in trainer.learner.lora.parameters():
        if "lora_B" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
