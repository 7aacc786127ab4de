"""What a training run learns from: the examples of its files, split, and as the model sees them."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llm_app.data.mix import Loaded, load
from llm_app.data.split import digest_of, split
from llm_app.data.types import Example
from llm_app.jobs.folder import Spec
from llm_app.jobs.train_data import datasets_of
from llm_app.jobs.train_examples import check_learnable, read_part, told_of_pieces
from llm_app.training.base import Base
from llm_app.training.config import TrainConfig
from llm_app.training.encode import Encoded, told_of_left_out
from llm_app.training.events import Step, Validation
from llm_app.training.model_card import DatasetNote, Figures
from llm_app.training.pairs import Pair
from llm_app.training.samples import SamplePrompt

N_PROMPTS = 3  # held-back prompts that the model answers at every validation


@dataclass(frozen=True)
class Tokens:
    """What the model sees. `notes`: what of it the person should know; `prompts`: what it is asked in between."""

    train: tuple[Encoded | Pair, ...]
    validation: tuple[Encoded | Pair, ...]
    prompts: tuple[SamplePrompt, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Material:
    """The examples of a run, split. `now`: the date that chat templates write; a resumed run has the first one's."""

    loaded: Loaded
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    now: datetime.datetime

    def tokens(self, base: Base, config: TrainConfig) -> Tokens:
        """All examples as tokens: pairs, where preferences are learned.

        Raises: UserError if none is left.
        """
        max_length = base.max_length(config)
        parts = [
            read_part(part, base.tokenizer, config, max_length, self.now) for part in (self.train, self.validation)
        ]
        rows = [*self.loaded.bad_rows, *(row for part in parts for row in part.bad_rows)]
        check_learnable(parts[0], config, max_length, rows)
        notes = [*map(str, self.loaded.notes), *map(str, told_of_pieces(parts, max_length))]
        if rows:
            notes.append(told_of_left_out(rows))
        train, validation = (part.tokens for part in parts)
        n_cut = sum(example.n_cut > 0 for example in (*train, *validation))
        if n_cut:
            notes.append(f"{n_cut:,} of {len(train) + len(validation):,} examples are cut at {max_length:,} tokens.")
        answered = [each for each in validation if isinstance(each, Encoded)]
        prompts = tuple(prompt for each in answered if (prompt := _prompt(each, base.tokenizer)) is not None)
        return Tokens(train, validation, prompts[:N_PROMPTS], tuple(notes))

    def split_digests(self) -> dict[str, str]:
        """SHA-256 of each part, in its order; none of a test part where there is none."""
        parts = {"train": self.train, "validation": self.validation} | ({"test": self.test} if self.test else {})
        return {name: digest_of(part) for name, part in parts.items()}

    def figures(
        self, step: int, steps: Sequence[Step], validations: Sequence[Validation], tokens: tuple[int, int]
    ) -> Figures:
        """For the card of what was learned up to this step; `tokens`: examples trained on and validated with."""
        sources = [(source.spec.name, source.spec.sha256, source.n_examples) for source in self.loaded.sources]
        losses = {validation.step: validation.loss for validation in validations}
        return Figures(
            datasets=tuple(DatasetNote(*source) for source in sources),
            n_train=tokens[0], n_validation=tokens[1], n_test=len(self.test), n_steps=len(steps),
            n_tokens=sum(each.n_tokens for each in steps),
            n_trained_tokens=sum(each.n_trained_tokens for each in steps),
            seconds=sum(each.seconds for each in steps),
            loss_before=losses.get(0), loss_after=losses.get(step), more=(("weights after step", f"{step:,}"),),
        )


def material_of(spec: Spec) -> Material:
    """Read and split the data of a run.

    Raises: UserError if a file cannot be read, or is not what it was when the run began.
    """
    config = spec["config"]
    # Runs of the first form have no test part.
    shares = (config["validation"], config.get("test", 0.0))
    created = datetime.datetime.fromisoformat(spec["created"])
    return split_material(load(datasets_of(spec), config["seed"]), shares, config["seed"], created)


def split_material(
    loaded: Loaded, shares: tuple[float, float], seed: int, now: datetime.datetime | None = None
) -> Material:
    """The examples split as a run does it. `shares`: of validation and test; `now`: default the present moment."""
    train, validation, test = map(tuple, split(loaded.examples, *shares, seed))
    return Material(loaded, train, validation, test, now or datetime.datetime.now())


def _prompt(encoded: Encoded, tokenizer: Any) -> SamplePrompt | None:
    """All before the last answer, and the answer; None where nothing stands before it."""
    end = len(encoded.trained)
    while end and not encoded.trained[end - 1]:
        end -= 1
    start = end
    while start and encoded.trained[start - 1]:
        start -= 1
    if start < 2 or start == end:
        return None
    text, expected = (
        str(tokenizer.decode(ids, skip_special_tokens=True)).strip()
        for ids in (encoded.ids[:start], encoded.ids[start:end])
    )
    return SamplePrompt(text, tuple(encoded.ids[:start]), expected)
