"""TF-IDF, LSTM and majority as they answer once they lie on disk."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer

from llm_app.classify.folder import ClassifierFile
from llm_app.classify.lstm import LstmModel, LstmNetwork, open_lstm, vocabulary_of
from llm_app.classify.majority import Majority
from llm_app.classify.network import NetworkClassifier
from llm_app.classify.tfidf import Features, LinearModel, open_tfidf
from llm_app.classify.types import Classifier, Item, Prediction
from llm_app.engine.turn import Turn

CPU = torch.device("cpu")
ENGLISH = ["a good film", "I was bored", "good, good plot", "it is bad", "so bad I left", "a fine and good story"]
CHINESE = ["这部电影很好看", "太难看了", "非常好", "不好看，很无聊", "剧情精彩", "浪费时间"]
TRUTHS = ["pos", "neg", "pos", "neg", "neg", "pos"]


def scores(classifier: Classifier, texts: list[str]) -> np.ndarray:
    found = sorted(classifier.predict([Item(text) for text in texts]), key=lambda outcome: outcome.index)
    return np.array([outcome.scores for outcome in found if isinstance(outcome, Prediction)])


@pytest.mark.parametrize(
    ("texts", "features"), [(ENGLISH, Features()), (CHINESE, Features("char", 1, 3))], ids=["words", "characters"]
)
def test_tfidf_from_disk_answers_as_scikit_learn_does(tmp_path: Path, texts: list[str], features: Features):
    vectorizer = features.vectorizer()
    theirs = LogisticRegression().fit(vectorizer.fit_transform(texts), TRUTHS)
    model = LinearModel.of(features, vectorizer, theirs.coef_, theirs.intercept_).for_two_labels()
    model.write(tmp_path)
    ours = open_tfidf(tmp_path, ClassifierFile("tfidf", "single", tuple(theirs.classes_)))
    asked = [*texts, "nothing of this was seen", "", "好 good"]
    assert np.allclose(scores(ours, asked), theirs.predict_proba(vectorizer.transform(asked)), atol=1e-12)


def test_tfidf_of_many_labels_a_row_answers_as_one_against_the_rest(tmp_path: Path):
    vectorizer, binary = Features().vectorizer(), MultiLabelBinarizer()
    wanted = binary.fit_transform([["x"], ["y"], ["x", "y"], [], ["y"], ["x"]])
    theirs = OneVsRestClassifier(LogisticRegression()).fit(vectorizer.fit_transform(ENGLISH), wanted)
    rows = np.vstack([each.coef_ for each in theirs.estimators_])
    constants = np.concatenate([each.intercept_ for each in theirs.estimators_])
    LinearModel.of(Features(), vectorizer, rows, constants).write(tmp_path)
    ours = open_tfidf(tmp_path, ClassifierFile("tfidf", "multi", tuple(binary.classes_)))
    assert np.allclose(scores(ours, ENGLISH), theirs.predict_proba(vectorizer.transform(ENGLISH)), atol=1e-12)


def test_a_temperature_softens_probabilities(tmp_path: Path):
    LinearModel(Features(), ("good",), np.ones(1), np.array([[0.0], [3.0]]), np.zeros(2)).write(tmp_path)
    found = scores(open_tfidf(tmp_path, ClassifierFile("tfidf", "single", ("n", "p"), temperature=2.0)), ["good"])
    assert found[0, 1] == pytest.approx(1 / (1 + np.exp(-1.5)))


def test_an_lstm_from_disk_answers_the_same_alone_and_among_others(tmp_path: Path):
    items = [Item(text) for text in ENGLISH]
    vocabulary = vocabulary_of(items)
    assert vocabulary == ("good", "a", "bad", "i")  # at least twice; the most frequent first, then by the alphabet
    torch.manual_seed(0)
    module = LstmModel(len(vocabulary), 2).eval()
    save_file(module.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "vocabulary.json").write_text('{"words": ["good", "a", "bad", "i"]}')
    file = ClassifierFile("lstm", "single", ("n", "p"), 16)
    ours = NetworkClassifier(open_lstm(tmp_path, file, CPU), file, {}, Turn())
    ids = torch.tensor([[4, 3, 1]])  # "a good film": numbers start behind padding, unknown and what parts a pair
    embedded = module.embedding(ids)
    _, (states, _) = module.lstm(embedded)
    expected = module.head(torch.cat((states[0], states[1]), -1)).softmax(-1)[0].tolist()
    together = scores(ours, ENGLISH)
    assert together[0] == pytest.approx(expected, abs=1e-6)
    assert together == pytest.approx(np.concatenate([scores(ours, [text]) for text in ENGLISH]), abs=1e-6)


def test_an_lstm_counts_the_words_it_cuts():
    network = LstmNetwork(LstmModel(1, 2), ["good"], 3)
    rows = network.rows([Item("good good"), Item("one two three four five"), Item(""), Item("good", "good")])
    assert [row.n_cut for row in rows] == [0, 2, 0, 0]
    assert [row.ids for row in rows] == [(3, 3), (1, 1, 1), (1,), (3, 2, 3)]


def test_majority_gives_every_item_the_shares():
    file = ClassifierFile("majority", "single", ("a", "b"), shares=(0.25, 0.75))
    assert scores(Majority(file), ["x", ""]).tolist() == [[0.25, 0.75], [0.25, 0.75]]
