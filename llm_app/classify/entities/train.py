"""A corpus of named entities to a trained tagger in a folder: split, fit, saved, and scored beside the baseline."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from eval.metrics.seqeval.score import seqeval
from llm_app.classify.entities.config import EntityConfig
from llm_app.classify.entities.decode import bio_labels
from llm_app.classify.entities.encoder import EncoderTagger, new_network
from llm_app.classify.entities.features import STRENGTHS, FeatureTagger
from llm_app.classify.entities.fit import TaggerTrainer, Told
from llm_app.classify.entities.folder import TaggerFile, write_note
from llm_app.classify.entities.scores import EntityScores, score
from llm_app.classify.entities.types import Tagger
from llm_app.classify.training.split import split
from llm_app.classify.types import Item
from llm_app.data.conll import OUTSIDE, TaggedFile, TaggedSentence
from llm_app.engine.plain_folder import PlainFolder
from llm_app.engine.turn import Turn
from llm_app.engine.weights import TAGS
from llm_app.errors import UserError
from llm_app.training.base import compute_dtype
from llm_app.training.events import Note
from llm_app.training.new_path import check_free, new_path

LEAST_SENTENCES = 5


@dataclass(frozen=True)
class Parts:
    """The sentences to learn from, to choose the weights by, and to score on; `types`: of the first two."""

    train: tuple[TaggedSentence, ...]
    validation: tuple[TaggedSentence, ...]
    test: tuple[TaggedSentence, ...]
    types: tuple[str, ...]
    about: dict[str, Any]  # names and digests of the files


@dataclass(frozen=True)
class Scored:
    """What a method comes to on the test part, of which nothing was learned or chosen."""

    method: str
    scores: EntityScores


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
    about = {"data": {"name": file.name, "sha256": file.digest}, "sentences": len(train)}
    if test is not None:
        about["test_data"] = {"name": test.name, "sha256": test.digest}
    return Parts(train, learned[len(train) :], tested, tuple(types), about)


def train_tagger(parts: Parts, config: EntityConfig, base: Path, output: Path) -> Iterator[Told | Scored]:
    """Train, save to `output`, and score both methods; closed while it trains, it leaves nothing.

    `base`: the folder of the encoder. Raises: UserError, also if there is something at `output`; ModelRejected.
    """
    check_free(output)
    learned = {sentence.tokens for sentence in (*parts.train, *parts.validation)}
    if n := sum(sentence.tokens in learned for sentence in parts.test):
        yield Note(0, "overlap", f"{n:,} of {len(parts.test):,} sentences to score on stand among those learned from.")
    baseline = _baseline(parts)
    tagger: EncoderTagger | FeatureTagger = baseline
    if config.method == "encoder":
        tagger = yield from _fitted(parts, config, base)
    scored = [Scored(config.method, scores_of(tagger, parts.test))] if parts.test else []
    if tagger is not baseline and parts.test:
        scored.append(Scored("features", scores_of(baseline, parts.test)))
    _save(tagger, parts, config, output, scored)
    yield from scored


def scores_of(tagger: Tagger, sentences: Sequence[TaggedSentence]) -> EntityScores:
    """What a tagger comes to on sentences whose entities are known."""
    taggings = list(tagger.tag([sentence.tokens for sentence in sentences]))
    return score([sentence.tags for sentence in sentences], taggings)


def _stratum(sentence: TaggedSentence) -> str:
    """The types it names: each part gets its share of every combination."""
    return " ".join(sorted({tag[2:] for tag in sentence.tags if tag != OUTSIDE})) or OUTSIDE


def _baseline(parts: Parts) -> FeatureTagger:
    """The best of a few on the validation part, as the encoder's weights are chosen."""
    labels = bio_labels(parts.types)
    if not parts.validation:
        return FeatureTagger.fit(parts.train, labels)
    fitted = [FeatureTagger.fit(parts.train, labels, strength=strength) for strength in STRENGTHS]
    truth = [list(sentence.tags) for sentence in parts.validation]
    words = [sentence.tokens for sentence in parts.validation]
    return max(fitted, key=lambda tagger: seqeval([list(each.tags) for each in tagger.tag(words)], truth)["f1"])


def _fitted(parts: Parts, config: EntityConfig, base: Path) -> Generator[Told, None, EncoderTagger]:
    device = torch.device("cpu")
    torch.manual_seed(config.seed)
    network = new_network(PlainFolder(base, TAGS), bio_labels(parts.types), config.max_length, device)
    trainer = TaggerTrainer(
        network, config, parts.train, parts.validation, dtype=compute_dtype(config.precision, device)
    )
    n_words = sum(len(sentence.tokens) for sentence in parts.train)
    if trainer.n_cut:
        yield Note(0, "cut", f"{trainer.n_cut:,} of {n_words:,} words are beyond the cut-off length: not learned from.")
    if trainer.n_unknown:
        share = trainer.n_unknown / n_words
        yield Note(0, "unknown_words", f"The vocabulary lacks {share:.1%} of the words to train on (read as unknown).")
    yield from trainer.run()
    return EncoderTagger(network, {}, Turn(), follows_bio=True)


def _save(
    tagger: EncoderTagger | FeatureTagger, parts: Parts, config: EntityConfig, output: Path, scored: Sequence[Scored]
) -> None:
    figures = {each.method: {"f1": each.scores.all.f1.estimate, "n": each.scores.n_sentences} for each in scored}
    trained = {**parts.about, "settings": asdict(config), "figures": figures}
    with new_path(output) as partial:
        partial.mkdir()
        tagger.save(partial)
        write_note(partial, TaggerFile(tagger.method, bio_labels(parts.types), tagger.max_length, trained))
