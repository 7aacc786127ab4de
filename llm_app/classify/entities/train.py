"""From a corpus of named entities to what learns from it: the parts, the baseline, and the trainer of an encoder."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from eval.metrics.seqeval.score import seqeval
from llm_app.classify.entities.config import EntityConfig
from llm_app.classify.entities.decode import bio_labels
from llm_app.classify.entities.encoder import new_network
from llm_app.classify.entities.features import STRENGTHS, FeatureTagger
from llm_app.classify.entities.fit import TaggerTrainer
from llm_app.classify.entities.learned import n_among
from llm_app.classify.entities.scores import EntityScores, score
from llm_app.classify.entities.types import Tagger
from llm_app.classify.training.split import split
from llm_app.classify.types import Item
from llm_app.data.conll import OUTSIDE, TaggedFile, TaggedSentence
from llm_app.data.types import Note
from llm_app.engine.plain_folder import PlainFolder
from llm_app.errors import UserError
from llm_app.training.base import compute_dtype

LEAST_SENTENCES = 5


@dataclass(frozen=True)
class Parts:
    """The sentences to learn from, to choose the weights by, and to score on; `types`: of the first two."""

    train: tuple[TaggedSentence, ...]
    validation: tuple[TaggedSentence, ...]
    test: tuple[TaggedSentence, ...]
    types: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """All tags, in the order of what a tagger gives."""
        return bio_labels(self.types)

    def digests(self) -> dict[str, str]:
        """Part -> SHA-256 over its sentences in their order: what a run records of its split."""
        return {name: _digest(getattr(self, name)) for name in ("train", "validation", "test")}

    def notes(self) -> Iterator[Note]:
        """What a person should know about them."""
        learned = {sentence.tokens for sentence in (*self.train, *self.validation)}
        if n := sum(sentence.tokens in learned for sentence in self.test):
            n_test = len(self.test)
            yield Note(
                f"{n:,} of {n_test:,} sentences to score on stand among those learned from: scores flatter.",
                f"{n_test:,} 个评分句子中有 {n:,} 个也在训练句子之中：得分偏高。",
            )


def parts_of(file: TaggedFile, test: TaggedFile | None, config: EntityConfig) -> Parts:
    """Equal sentences stand in one part; a test file of its own is taken whole.

    Raises: UserError if there are too few sentences, or no entities to learn from.
    """
    sentences = file.sentences
    if len(sentences) < LEAST_SENTENCES:
        raise UserError(f"{file.name} has {len(sentences)} sentences; {LEAST_SENTENCES} are the least.", param="data")
    found = split(
        [Item(" ".join(sentence.tokens)) for sentence in sentences], [_stratum(sentence) for sentence in sentences],
        "single", validation=config.validation, test=config.test if test is None else 0.0, seed=config.seed,
    )  # fmt: skip
    train = tuple(sentences[place] for place in found.train)
    learned = (*train, *(sentences[place] for place in found.validation))
    types = sorted({tag[2:] for sentence in learned for tag in sentence.tags if tag != OUTSIDE})
    if not types:
        raise UserError(f"{file.name} has no entities to learn from: all tags are {OUTSIDE}.", param="data")
    tested = tuple(sentences[place] for place in found.test) if test is None else test.sentences
    return Parts(train, learned[len(train) :], tested, tuple(types))


def best_baseline(parts: Parts) -> FeatureTagger:
    """The best of a few on the validation part, as the encoder's weights are chosen."""
    if not parts.validation:
        return FeatureTagger.fit(parts.train, parts.labels)
    fitted = [FeatureTagger.fit(parts.train, parts.labels, strength=strength) for strength in STRENGTHS]
    truth = [list(sentence.tags) for sentence in parts.validation]
    words = [sentence.tokens for sentence in parts.validation]
    return max(fitted, key=lambda tagger: seqeval([list(each.tags) for each in tagger.tag(words)], truth)["f1"])


def new_trainer(parts: Parts, config: EntityConfig, base: PlainFolder, device: torch.device) -> TaggerTrainer:
    """An encoder with a new head, whose weights the seed decides.

    Raises: ModelRejected if the encoder is not whole.
    """
    torch.manual_seed(config.seed)
    network = new_network(base, parts.labels, config.max_length, device)
    return TaggerTrainer(
        network, config, parts.train, parts.validation, dtype=compute_dtype(config.precision, device)
    )


def told_of_words(trainer: TaggerTrainer, parts: Parts) -> Iterator[Note]:
    """Which words nothing, or little, is learned from."""
    n_words = sum(len(sentence.tokens) for sentence in parts.train)
    if trainer.n_cut:
        yield Note(
            f"{trainer.n_cut:,} of {n_words:,} words are beyond the cut-off length: not learned from.",
            f"{n_words:,} 个词中有 {trainer.n_cut:,} 个超出截断长度：不参与学习。",
        )
    if trainer.n_unknown:
        share = trainer.n_unknown / n_words
        yield Note(
            f"The vocabulary lacks {share:.1%} of the words to train on (read as unknown).",
            f"词表缺少训练词中的 {share:.1%}（按未知词读取）。",
        )


def scores_of(tagger: Tagger, sentences: Sequence[TaggedSentence]) -> EntityScores:
    """What a tagger comes to on sentences whose entities are known."""
    words = [sentence.tokens for sentence in sentences]
    truths = [sentence.tags for sentence in sentences]
    return score(truths, list(tagger.tag(words)), n_learned=n_among(tagger.learned, words))


def _stratum(sentence: TaggedSentence) -> str:
    """The types it names: each part gets its share of every combination."""
    return " ".join(sorted({tag[2:] for tag in sentence.tags if tag != OUTSIDE})) or OUTSIDE


def _digest(sentences: Sequence[TaggedSentence]) -> str:
    lines = (repr((sentence.tokens, sentence.tags)) for sentence in sentences)
    return hashlib.sha256("\n".join(lines).encode("utf-8", errors="surrogatepass")).hexdigest()
