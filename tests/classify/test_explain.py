"""Which words decided: against what the classifier itself says of the shorter text, and against small changes."""

import math

import numpy as np
import pytest
import torch

from llm_app.classify.config import EXPLANATIONS
from llm_app.classify.encoder import EncoderNetwork, open_encoder
from llm_app.classify.explain import (
    MAX_PIECES,
    explained,
    explaining,
    gradient_times_input,
    leave_one_out,
    n_texts,
    pieces,
)
from llm_app.classify.folder import ClassifierFile
from llm_app.classify.network import NetworkClassifier
from llm_app.classify.tfidf import Features, LinearModel, Tfidf
from llm_app.classify.types import Item, Prediction
from llm_app.engine.plain_folder import PlainFolder
from llm_app.engine.turn import Turn
from llm_app.engine.weights import CLASSIFIES
from llm_app.errors import UserError
from tests.classify.making import make_encoder
from tests.classify.word_rule import WordRule


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> NetworkClassifier:
    folder = PlainFolder(make_encoder(tmp_path_factory.mktemp("encoder") / "tiny"), CLASSIFIES)
    network, file = open_encoder(folder, None, torch.device("cpu"), name="tiny")
    return NetworkClassifier(network, file, {}, Turn())


def rule() -> Tfidf:
    """Knows one word, which speaks for the second label."""
    model = LinearModel(Features("word", 1, 1), ("good",), np.ones(1), np.array([[0.0], [3.0]]), np.array([0.0, -1.0]))
    return Tfidf(ClassifierFile("tfidf", "single", ("negative", "positive")), model)


def log_odds(classifier: NetworkClassifier, item: Item, label: int) -> float:
    (outcome,) = classifier.predict([item])
    assert isinstance(outcome, Prediction)
    return math.log(outcome.scores[label] / (1 - outcome.scores[label]))


def test_only_the_word_that_the_classifier_knows_has_weight():
    found = leave_one_out(rule(), Item("it was good, wasn't it"))
    assert [(span.start, span.end) for span in found.spans] == [(0, 2), (3, 6), (7, 11), (13, 19), (20, 22)]
    # With the word the log-odds are 3 - 1, without it -1.
    assert [span.weight for span in found.spans] == pytest.approx([0, 0, 3, 0, 0])
    assert found.label == 1


def test_the_weights_for_one_of_two_labels_are_those_against_the_other():
    item = Item("it was good")
    for_one, for_other = leave_one_out(rule(), item, label=1), leave_one_out(rule(), item, label=0)
    assert [span.weight for span in for_one.spans] == pytest.approx([-span.weight for span in for_other.spans])


def test_a_weight_is_what_the_log_odds_lose_without_the_word(encoder: NetworkClassifier):
    found = leave_one_out(encoder, Item("a good film", "dull plot"))
    before = log_odds(encoder, Item("a good film", "dull plot"), found.label)
    shorter = [Item("good film", "dull plot"), Item("a film", "dull plot"), Item("a good ", "dull plot"),
               Item("a good film", "plot"), Item("a good film", "dull ")]  # fmt: skip
    expected = [before - log_odds(encoder, item, found.label) for item in shorter]
    assert [span.weight for span in found.spans] == pytest.approx(expected, abs=1e-4)
    assert [span.is_pair for span in found.spans] == [False, False, False, True, True]


def test_gradient_times_input_is_what_growing_an_embedding_a_little_changes(encoder: NetworkClassifier):
    """By its definition the derivative of the log-odds by the word's embedding scaled: here by central differences."""
    item, network = Item("good brilliant film"), encoder.network
    assert isinstance(network, EncoderNetwork)
    found = gradient_times_input(encoder, item)
    (row,) = network.rows([item])
    vectors = network.embeddings(torch.tensor([row.ids]))[0].detach()
    for span, place in zip(found.spans, (1, 2, 3), strict=True):  # whole words of the vocabulary, behind [CLS]
        changed = []
        for step in (1e-2, -1e-2):
            scaled = vectors.clone()
            scaled[place] *= 1 + step
            with torch.inference_mode():
                logits = network.module(inputs_embeds=scaled[None]).logits[0].double()
            changed.append(float(logits[found.label] - logits[1 - found.label]))
        assert span.weight == pytest.approx((changed[0] - changed[1]) / 2e-2, abs=1e-2)


def test_word_pieces_count_for_the_word_they_are_of(encoder: NetworkClassifier):
    text = "good xylophone film"
    assert [(span.start, span.end) for span in gradient_times_input(encoder, Item(text)).spans] == pieces(text)
    assert all(span.weight != 0 for span in gradient_times_input(encoder, Item(text)).spans)


def test_an_explanation_that_nobody_waits_for_asks_no_more() -> None:
    asked = WordRule()
    steps = explaining(asked, Item("it was good, wasn't it"), "leave-one-out")
    assert next(steps) == (1, 6)
    steps.close()
    assert len(asked.asked) == 1


def test_what_is_explained_step_by_step_is_what_is_explained_at_once(encoder: NetworkClassifier) -> None:
    item = Item("a good film", "dull plot")
    for how in EXPLANATIONS:
        *steps, found = explaining(encoder, item, how)
        assert found == explained(encoder, item, how)
        assert len(steps) == (n_texts(item) if how == "leave-one-out" else 0)


def test_gradients_are_refused_where_there_are_none():
    with pytest.raises(UserError, match="encoders only. Choose to leave out each word"):
        gradient_times_input(rule(), Item("good"))


def test_chinese_is_taken_apart_by_characters_and_numbers_stay_whole():
    assert ["好看的film 2024年"[start:end] for start, end in pieces("好看的film 2024年")] == [
        "好", "看", "的", "film", "2024", "年"
    ]  # fmt: skip


def test_a_long_text_is_taken_apart_into_runs_of_words():
    text = "word " * 1_234
    found = pieces(text)
    assert len(found) <= MAX_PIECES
    assert sum(len(text[start:end].split()) for start, end in found) == 1_234


def test_a_text_without_words_has_no_spans():
    assert leave_one_out(rule(), Item("?!")).spans == ()
