"""Taggers of named entities: decoding, scores, the baseline, training, and the folder that it leaves."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from sklearn.linear_model import LogisticRegression

from llm_app.classify.entities.config import EntityConfig
from llm_app.classify.entities.decode import Decoder, bio_labels, spans
from llm_app.classify.entities.encoder import EncoderTagger, new_network
from llm_app.classify.entities.features import FeatureTagger
from llm_app.classify.entities.folder import NOTE
from llm_app.classify.entities.open import open_folder
from llm_app.classify.entities.scores import score
from llm_app.classify.entities.train import Parts, Scored, parts_of, train_tagger
from llm_app.classify.entities.types import Tagging
from llm_app.classify.entities.words import find_entities
from llm_app.classify.training.events import Point
from llm_app.data.conll import TaggedFile, TaggedSentence, as_bio, read_conll
from llm_app.engine.plain_folder import PlainFolder
from llm_app.engine.turn import Turn
from llm_app.engine.weights import TAGS
from llm_app.errors import ModelRejected, UserError
from llm_app.training.events import Step
from tests.classify.small_bert import make_bert

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
    return make_bert(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture(scope="module")
def corpus() -> tuple[TaggedSentence, ...]:
    return tuple(TaggedSentence(1, tuple(a.split()), tuple(b.split())) for a, b in CORPUS)


def tagger_of(bert: Path, *, max_length: int = 64, seed: int = 1) -> EncoderTagger:
    torch.manual_seed(seed)
    network = new_network(PlainFolder(bert, TAGS), LABELS, max_length, CPU)
    return EncoderTagger(network, {}, Turn(), follows_bio=True)


def parts(corpus: tuple[TaggedSentence, ...]) -> Parts:
    return Parts(corpus, corpus, corpus, ("LOC", "PER"), {})


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


def test_scores_equal_seqeval_for_each_type_and_all():  # oracle: seqeval
    random = np.random.default_rng(0)
    truth, guess = (
        [as_bio(random.choice(LABELS, size=8, p=[0.4, 0.15, 0.15, 0.15, 0.15]).tolist()) for _ in range(40)]
        for _ in range(2)
    )
    wanted = classification_report([list(t) for t in truth], [list(g) for g in guess], output_dict=True)
    found = score(truth, [Tagging(i, tags, (1.0,) * 8) for i, tags in reversed(list(enumerate(guess)))])
    for name, row in {"micro avg": found.all, **found.by_type}.items():
        figures = (row.precision.estimate, row.recall.estimate, row.f1.estimate, row.support)
        assert figures == pytest.approx(tuple(wanted[name].values()))
    assert found.all.f1.low < found.all.f1.estimate < found.all.f1.high


def test_scores_without_any_entity_are_zero():
    found = score([("O",)] * 6, [Tagging(i, ("O",), (1.0,)) for i in range(6)])
    assert found.all.f1.estimate == 0 and found.by_type == {}


def test_the_first_piece_of_a_word_carries_its_tag(bert):
    (row,) = tagger_of(bert).network.rows([["Anna", "x1y", "Paris"]])
    assert len(row.ids) == 2 + 1 + 3 + 1
    assert row.firsts == (1, 2, 5)


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
    columns = [LABELS.index(label) for label in model.classes_]
    np.testing.assert_allclose(found[:, columns], model.predict_proba(x), atol=1e-5)


@pytest.mark.parametrize("method", ["encoder", "features"])
def test_a_saved_tagger_gives_the_same_tags_and_refuses_to_be_overwritten(
    method, bert, corpus, tmp_path, settings
):
    config = EntityConfig(method=method, epochs=2, batch_size=2, precision="fp32")
    events = list(train_tagger(parts(corpus), config, bert, tmp_path / "out"))
    tagger = open_folder(tmp_path / "out", settings, Turn(), CPU, name="out")
    sentences = [sentence.tokens for sentence in corpus]
    scored = next(event.scores for event in events if isinstance(event, Scored) and event.method == method)
    again = score([sentence.tags for sentence in corpus], list(tagger.tag(sentences)))
    assert again == scored
    with pytest.raises(UserError, match="exists already"):
        next(train_tagger(parts(corpus), config, bert, tmp_path / "out"))


def test_training_lowers_the_loss_learns_and_repeats_itself(bert, corpus, tmp_path):
    config = EntityConfig(epochs=20, batch_size=3, peak_rate=1e-2, precision="fp32")
    events = list(train_tagger(parts(corpus), config, bert, tmp_path / "one"))
    steps, points = ([event for event in events if isinstance(event, kind)] for kind in (Step, Point))
    assert steps[-1].loss < 0.3 * steps[0].loss
    assert max(point.score for point in points) == 1.0
    again = itertools.islice(train_tagger(parts(corpus), config, bert, tmp_path / "two"), 12)
    assert [untimed(event) for event in again] == [untimed(event) for event in events[:12]]


def untimed(event):
    return replace(event, seconds=0, memory_bytes=0) if isinstance(event, Step) else event


def test_transformers_loads_a_trained_encoder_as_it_is_with_its_labels(bert, corpus, tmp_path):  # oracle: transformers
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    list(train_tagger(parts(corpus), EntityConfig(epochs=0.1, precision="fp32"), bert, tmp_path / "out"))
    model = AutoModelForTokenClassification.from_pretrained(tmp_path / "out")
    assert tuple(model.config.id2label.values()) == LABELS
    assert len(AutoTokenizer.from_pretrained(tmp_path / "out")("rain " * 300)["input_ids"]) == 302
    assert json.loads((tmp_path / "out" / "tokenizer.json").read_text(encoding="utf-8"))["truncation"] is None


def test_an_encoder_without_a_trained_head_is_refused(bert, settings):
    with pytest.raises(ModelRejected, match="no trained head for named entities"):
        open_folder(bert, settings, Turn(), CPU, name="bert")


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
def test_a_note_that_says_something_else_is_refused(change, reason, corpus, tmp_path, settings, bert):
    list(train_tagger(parts(corpus), EntityConfig(method="features"), bert, tmp_path / "out"))
    note = json.loads((tmp_path / "out" / NOTE).read_text(encoding="utf-8"))
    (tmp_path / "out" / NOTE).write_text(json.dumps(note | change), encoding="utf-8")
    with pytest.raises(ModelRejected, match=reason):
        open_folder(tmp_path / "out", settings, Turn(), CPU, name="out")


def test_weights_that_do_not_fit_the_vocabulary_are_refused(corpus, tmp_path, settings, bert):
    list(train_tagger(parts(corpus), EntityConfig(method="features"), bert, tmp_path / "out"))
    (tmp_path / "out" / "vocabulary.json").write_text(json.dumps({"features": ["word+0=a"]}), encoding="utf-8")
    with pytest.raises(ModelRejected, match="shape"):
        open_folder(tmp_path / "out", settings, Turn(), CPU, name="out")


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


@pytest.mark.verify
def test_the_baseline_finds_entities_in_wnut17(hub_data):
    folder = hub_data.parent / "raw" / "ner" / "wnut17"
    train, dev = read_conll(folder / "wnut17train.conll"), read_conll(folder / "emerging.dev.conll")
    tagger = FeatureTagger.fit(train.sentences, bio_labels(sorted(train.types)))
    found = score(
        [sentence.tags for sentence in dev.sentences], list(tagger.tag([sentence.tokens for sentence in dev.sentences]))
    )
    assert found.all.f1.estimate > 0.05 and not math.isnan(found.all.f1.low)
