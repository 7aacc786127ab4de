"""Taggers of named entities: decoding, scores, the baseline, training, and the folder that it leaves."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from tokenizers import normalizers
from transformers import AutoTokenizer

from llm_app.classify.entities.config import EntityConfig
from llm_app.classify.entities.decode import Decoder, bio_labels, spans
from llm_app.classify.entities.encoder import EncoderTagger, TaggerNetwork, new_network
from llm_app.classify.entities.features import FeatureTagger
from llm_app.classify.entities.fit import TaggerTrainer
from llm_app.classify.entities.folder import NOTE, TaggerFile, write_note
from llm_app.classify.entities.open import open_folder, open_tagger
from llm_app.classify.entities.train import Parts, new_trainer, parts_of
from llm_app.classify.entities.types import Tagging
from llm_app.classify.entities.words import find_entities
from llm_app.classify.training.events import Point
from llm_app.data.conll import TaggedFile, TaggedSentence
from llm_app.engine.plain_folder import PlainFolder
from llm_app.engine.turn import Turn
from llm_app.engine.weights import TAGS
from llm_app.errors import ModelRejected, UserError
from llm_app.training.events import Step
from tests.classify.making import make_bytes, make_encoder

LABELS = bio_labels(["LOC", "PER"])
CPU = torch.device("cpu")
CORPUS = [
    ("Anna lives in Paris .", "B-PER O O B-LOC O"),
    ("the rain in London", "O O O B-LOC"),
    ("Anna likes the rain", "B-PER O O O"),
    ("Paris and London", "B-LOC O B-LOC"),
    ("Anna Anna lives", "B-PER I-PER O"),
    ("rain and rain", "O O O"),
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("models") / "bert", has_head=False)


@pytest.fixture(scope="module")
def corpus() -> tuple[TaggedSentence, ...]:
    return tuple(TaggedSentence(1, tuple(a.split()), tuple(b.split())) for a, b in CORPUS)


@pytest.fixture
def features(corpus: tuple[TaggedSentence, ...], tmp_path: Path) -> Path:
    """The folder of a baseline."""
    FeatureTagger.fit(corpus, LABELS).save(tmp_path)
    write_note(tmp_path, TaggerFile("features", LABELS, None))
    return tmp_path


def tagger_of(bert: Path, *, max_length: int = 64, seed: int = 1) -> EncoderTagger:
    torch.manual_seed(seed)
    network = new_network(PlainFolder(bert, TAGS), LABELS, max_length, CPU)
    return EncoderTagger(network, Turn(), follows_bio=True)


def parts(corpus: tuple[TaggedSentence, ...]) -> Parts:
    return Parts(corpus, corpus, corpus, ("LOC", "PER"))


@hypothesis_settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(-5, 0), min_size=5, max_size=5), min_size=1, max_size=4))
def test_decoding_gives_the_likeliest_of_all_sequences_that_bio_allows(rows):  # oracle: all of them, one by one
    scores = np.array(rows)
    allowed = [path for path in itertools.product(range(5), repeat=len(rows)) if is_bio([LABELS[n] for n in path])]
    best = max(sum(scores[word, label] for word, label in enumerate(path)) for path in allowed)
    tags, _ = Decoder(LABELS, follows_bio=True).tags(scores)
    assert is_bio(tags)
    assert sum(scores[word, LABELS.index(tag)] for word, tag in enumerate(tags)) == pytest.approx(best)


def is_bio(tags) -> bool:
    return all(not tag.startswith("I-") or before[2:] == tag[2:] for before, tag in itertools.pairwise(["O", *tags]))


def test_other_models_tags_are_read_each_by_itself():
    decoder = Decoder(("O", "I-PER"), follows_bio=False)
    assert decoder.tags(np.log([[0.1, 0.9], [0.2, 0.8]]))[0] == ("B-PER", "I-PER")


def test_a_spans_probability_is_the_mean_of_its_words():
    (found,) = spans(Tagging(0, ("O", "B-LOC", "I-LOC"), (0.9, 0.8, 0.6)))
    assert (found.start, found.end, found.type) == (1, 3, "LOC")
    assert found.probability == pytest.approx(0.7)


def test_the_first_piece_of_a_word_carries_its_tag(bert):
    (row,) = tagger_of(bert).network.rows([["Anna", "x1y", "Paris"]])
    assert len(row.ids) == 2 + 1 + 3 + 1
    assert row.firsts == (1, 2, 5)


def test_a_byte_level_tokenizer_reads_words_as_they_stand_in_a_sentence(bert, tmp_path):  # oracle: transformers
    words = ["Anna", "lives", "in", "Paris", "it's", "北京"]
    tokenizer = make_bytes(["Anna lives in Paris , Anna likes Paris"] * 3, 64)
    tokenizer.save_pretrained(tmp_path)
    glued = tokenizer(words, is_split_into_words=True).input_ids
    network = TaggerNetwork(tagger_of(bert).network.model, AutoTokenizer.from_pretrained(tmp_path), 64)
    (row,) = network.rows([words])
    assert list(row.ids) == tokenizer(" " + " ".join(words)).input_ids != glued
    assert tokenizer.convert_ids_to_tokens([row.ids[row.firsts[3]]]) == ["ĠParis"]


def test_a_tokenizer_that_reads_words_only_apart_from_text_is_refused(bert):
    tokenizer = make_bytes(["Anna lives in Paris"], 64)
    tokenizer.backend_tokenizer.normalizer = normalizers.Prepend("_")
    with pytest.raises(ModelRejected, match="pieces of words by themselves"):
        TaggerNetwork(tagger_of(bert).network.model, tokenizer, 64)


def test_words_beyond_the_cut_off_are_counted_and_tagged_o(bert):
    (tagging,) = tagger_of(bert, max_length=8).tag([["rain"] * 10])
    assert tagging.n_cut == 4  # of eight tokens two are special
    assert tagging.tags[6:] == ("O",) * 4 and tagging.probabilities[6:] == (0.0,) * 4


def test_words_that_the_vocabulary_lacks_are_counted_and_those_without_a_piece_are_o(bert):
    (tagging,) = tagger_of(bert).tag([["Ω", "\u200d", "rain"]])
    assert tagging.n_unknown == 1
    assert tagging.tags[1] == "O" and len(tagging.tags) == 3


def test_tags_equal_those_of_transformers_one_sentence_at_a_time(bert, corpus):  # oracle: transformers
    tagger = tagger_of(bert)
    model, tokenizer = tagger.network.model, tagger.network.tokenizer
    taggings = sorted(tagger.tag([sentence.tokens for sentence in corpus]), key=lambda tagging: tagging.index)
    for sentence, tagging in zip(corpus, taggings, strict=True):
        encoded = tokenizer(list(sentence.tokens), is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            alone = model(**encoded).logits[0].softmax(-1)
        firsts = [encoded.word_ids().index(word) for word in range(len(sentence.tokens))]
        wanted = [float(alone[first, LABELS.index(tag)]) for first, tag in zip(firsts, tagging.tags, strict=True)]
        assert tagging.probabilities == pytest.approx(wanted, abs=1e-5)


def test_entities_in_text_are_given_by_characters(corpus):
    tagger = FeatureTagger.fit(corpus * 5, LABELS)
    text = "the rain in London,\nAnna lives in Paris."
    (found,) = find_entities(tagger, [text])
    assert [(text[span.start : span.end], span.type) for span in found.spans] == [
        ("London", "LOC"), ("Anna", "PER"), ("Paris", "LOC"),
    ]  # fmt: skip


def test_a_text_without_words_names_nothing(corpus):
    tagger = FeatureTagger.fit(corpus, LABELS)
    assert [found.spans for found in find_entities(tagger, ["", " \n\n"])] == [(), ()]


def test_the_baselines_probabilities_equal_scikit_learns(corpus, monkeypatch):  # oracle: scikit-learn
    fitted = []
    fit = LogisticRegression.fit
    monkeypatch.setattr(LogisticRegression, "fit", lambda self, x, y: fitted.append((self, x)) or fit(self, x, y))
    tagger = FeatureTagger.fit(corpus, LABELS)
    ((model, x),) = fitted
    found = np.exp(tagger.log_probabilities([sentence.tokens for sentence in corpus]))
    np.testing.assert_allclose(found[:, model.classes_], model.predict_proba(x), atol=1e-5)


def trainer_of(bert, corpus, **options) -> TaggerTrainer:
    config = EntityConfig(**{"epochs": 20, "batch_size": 3, "learning_rate": 1e-2, "precision": "fp32", **options})
    return new_trainer(parts(corpus), config, PlainFolder(bert, TAGS), CPU)


def test_training_lowers_the_loss_learns_and_repeats_itself(bert, corpus):
    events = list(trainer_of(bert, corpus, epochs=60).run())
    steps, points = ([event for event in events if isinstance(event, kind)] for kind in (Step, Point))
    assert steps[-1].loss < 0.3 * steps[0].loss
    assert max(point.score for point in points) == 1.0
    again = itertools.islice(trainer_of(bert, corpus, epochs=60).run(), 12)
    assert [untimed(event) for event in again] == [untimed(event) for event in events[:12]]


def test_a_training_that_is_saved_and_restored_makes_the_same_steps_to_the_last_bit(bert, corpus):
    whole = trainer_of(bert, corpus, epochs=4)
    *_, last = whole.run()
    half = trainer_of(bert, corpus, epochs=4)
    list(itertools.takewhile(lambda event: not isinstance(event, Step) or event.step < 4, half.run()))
    rest = trainer_of(bert, corpus, epochs=4)
    rest.restore(half.state())
    *_, again = rest.run()
    assert untimed(again) == untimed(last)
    assert torch.equal(rest.learner.weights.flat, whole.learner.weights.flat)


def test_the_loss_of_a_step_is_torchs_over_the_first_pieces_of_all_words(bert, corpus):  # oracle: torch
    made = trainer_of(bert, corpus)
    made.learner.trains(False)
    batch = made.batch(range(len(corpus)), 0)
    total = 0.0
    for sentence, row in zip(corpus, batch.rows, strict=True):
        with torch.no_grad():
            logits = made.tagger.network.logits([row])[0]
        firsts = [tokens_before(made.tagger, sentence.tokens[:n]) for n in range(len(sentence.tokens))]
        wanted = torch.tensor([LABELS.index(tag) for tag in sentence.tags])
        total += float(torch.nn.functional.cross_entropy(logits[firsts], wanted, reduction="sum"))
    with torch.no_grad():
        found = sum(
            float(made.loss(made.learner.logits([row], 0), [wanted]))
            for row, wanted in zip(batch.rows, batch.wanted, strict=True)
        )
    assert found == pytest.approx(total, rel=1e-5)
    assert batch.n_targets == batch.weight == sum(len(sentence.tokens) for sentence in corpus)


def tokens_before(tagger, words) -> int:
    """Where the next word begins, by a tokenizer that never saw it."""
    return 1 + len(tagger.network.tokenizer(list(words), is_split_into_words=True, add_special_tokens=False).input_ids)


def untimed(event):
    return replace(event, seconds=0, memory_bytes=0) if isinstance(event, Step) else event


def test_a_tagger_is_put_on_the_gpu_if_there_is_one(bert, settings, monkeypatch):
    folder = settings.classifiers / "mine"
    folder.mkdir(parents=True)
    tagger_of(bert).save(folder)
    write_note(folder, TaggerFile("encoder", LABELS, 64))
    moved = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, device: moved.append(device) or self)
    open_tagger("mine", settings, Turn())
    assert moved == [torch.device("cuda")]


def test_an_encoder_without_a_trained_head_is_refused(bert):
    with pytest.raises(ModelRejected, match="no trained head for named entities"):
        open_folder(bert, Turn(), CPU, name="bert")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format"),
        ({"method": "magic"}, "method"),
        ({"labels": ["O", "B-X"]}, "labels"),
        ({"max_length": 0}, "max_length"),
        ({"more": 1}, "more"),
    ],
)
def test_a_note_that_says_something_else_is_refused(change, reason, features):
    note = json.loads((features / NOTE).read_text(encoding="utf-8"))
    (features / NOTE).write_text(json.dumps(note | change), encoding="utf-8")
    with pytest.raises(ModelRejected, match=reason):
        open_folder(features, Turn(), CPU, name="out")


def test_weights_that_do_not_fit_the_vocabulary_are_refused(features):
    (features / "vocabulary.json").write_text(json.dumps({"features": ["word+0=a"]}), encoding="utf-8")
    with pytest.raises(ModelRejected, match="shape"):
        open_folder(features, Turn(), CPU, name="out")


def test_equal_sentences_stand_in_one_part():
    sentences = tuple(TaggedSentence(n, (f"w{n // 2}",), ("B-X",)) for n in range(60))
    found = parts_of(TaggedFile("file", sentences), None, EntityConfig())
    tokens = [{sentence.tokens for sentence in part} for part in (found.train, found.validation, found.test)]
    assert all(a.isdisjoint(b) for a, b in itertools.combinations(tokens, 2))
    assert sum(map(len, (found.train, found.validation, found.test))) == 60


def test_a_corpus_without_entities_is_refused():
    sentences = tuple(TaggedSentence(n, (f"w{n}",), ("O",)) for n in range(20))
    with pytest.raises(UserError, match="no entities to learn from"):
        parts_of(TaggedFile("file", sentences), None, EntityConfig())
