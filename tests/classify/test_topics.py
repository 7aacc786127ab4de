"""The embedding view: embeddings, clusters, key words, places on the map."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_score

from llm_app.classify.topics.clusters import Clusters, clusters, nearest, positions
from llm_app.classify.topics.config import TopicsConfig
from llm_app.classify.topics.embedding import SentenceEncoder, open_sentence_encoder
from llm_app.classify.topics.find import find_topics
from llm_app.classify.topics.types import Embedded, Grouped, TopicMap
from llm_app.classify.topics.words import class_tf_idf, key_words, terms_of
from llm_app.engine.catalog import embedded_encoder
from llm_app.engine.turn import Turn
from llm_app.errors import ModelRejected, UserError
from tests.classify.making import make_encoder

TEXTS = ["rain and the rain", "Anna lives in Paris", "the rain", "Anna likes London", "in", "rain in London and Paris"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("models") / "bert", has_head=False)


@pytest.fixture(scope="module")
def blobs() -> np.ndarray:
    """Thirty vectors of length 1 around each of three directions, in turn."""
    random = np.random.default_rng(0)
    raw = np.eye(8)[np.arange(90) % 3] + random.normal(scale=0.05, size=(90, 8))
    return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


def embedded(encoder: SentenceEncoder, texts: list[str]) -> np.ndarray:
    parts = list(encoder.embed(texts))
    order = np.argsort([index for part in parts for index in part.indices])
    return np.concatenate([part.vectors for part in parts])[order]


def clustered(vectors: np.ndarray, config: TopicsConfig) -> Clusters:
    steps = clusters(vectors, config)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def by_hand(folder: Path, text: str, *, is_first: bool = False) -> np.ndarray:
    """Written out from the definition: one text at a time, without padding."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
    vector = (hidden[0] if is_first else hidden.mean(0)).numpy()
    return vector / np.linalg.norm(vector)


def test_embeddings_are_the_mean_of_the_tokens_at_length_1(bert):  # oracle: transformers, text by text
    found = embedded(open_sentence_encoder(bert, Turn()), TEXTS)
    np.testing.assert_allclose(found, [by_hand(bert, text) for text in TEXTS], atol=1e-5)


def test_a_folder_that_pools_the_first_token_is_followed(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "first")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}), encoding="utf-8")
    found = embedded(open_sentence_encoder(folder, Turn()), TEXTS[:2])
    np.testing.assert_allclose(found, [by_hand(folder, text, is_first=True) for text in TEXTS[:2]], atol=1e-5)


def test_another_way_of_pooling_is_refused(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "max")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}), encoding="utf-8")
    with pytest.raises(ModelRejected, match="pooling_mode_max_tokens"):
        open_sentence_encoder(folder, Turn())


def test_the_embedded_encoder_reads_256_tokens_and_puts_like_texts_together():
    encoder = open_sentence_encoder(embedded_encoder(), Turn())
    assert encoder.max_length == 256
    texts = ["A cat sat on the mat.", "A kitten is on the rug.", "The bank raised its rates."]
    cat, kitten, bank = embedded(encoder, texts)
    assert cat @ kitten > 0.5 > cat @ bank
    np.testing.assert_allclose(cat, by_hand(embedded_encoder(), texts[0]), atol=1e-5)


def test_texts_that_lose_their_end_are_counted(bert):
    encoder = open_sentence_encoder(bert, Turn())
    assert sum(part.n_cut for part in encoder.embed(["rain " * 100, "rain"])) == 1


def test_the_number_of_topics_is_the_one_with_the_best_silhouette(blobs):  # oracle: scikit-learn's silhouette
    found = clustered(blobs, TopicsConfig())
    assert len(found.centres) == 3
    assert max(found.silhouettes, key=lambda n: found.silhouettes[n]) == 3
    assert found.silhouettes[3] == pytest.approx(float(silhouette_score(blobs, np.arange(90) % 3)), abs=1e-6)


def test_a_given_number_of_topics_is_kept(blobs):
    found = clustered(blobs, TopicsConfig(n_topics=5))
    assert len(found.centres) == 5 and list(found.silhouettes) == [5]


def test_hdbscan_leaves_out_what_lies_apart(blobs):
    apart = -np.eye(8, dtype=np.float32)[7:]
    found = clustered(np.concatenate([blobs, apart]), TopicsConfig(method="hdbscan"))
    assert len(found.centres) == 3 and found.topics[-1] == -1


def test_topics_are_numbered_by_size(blobs):
    sizes = np.bincount(clustered(blobs[:-20:1], TopicsConfig(n_topics=3)).topics)
    assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)


def test_the_nearest_text_comes_first(blobs):
    found = clustered(blobs, TopicsConfig(n_topics=3))
    away = np.linalg.norm(blobs - found.centres[0], axis=1)
    members = [place for place in np.argsort(away).tolist() if found.topics[place] == 0]
    assert nearest(blobs, found, 0, 4) == tuple(members[:4])


@pytest.mark.parametrize("how", ["pca", "tsne"])
def test_each_text_has_a_place_and_neighbours_stay_together(how, blobs):
    plane, explained = positions(blobs, TopicsConfig(positions=how))
    assert plane.shape == (90, 2)
    assert silhouette_score(plane, np.arange(90) % 3) > 0.5
    assert explained is None if how == "tsne" else 0.5 < explained <= 1


def test_class_tf_idf_is_the_papers_formula():  # oracle: Grootendorst 2022, written out for one term
    counts = np.array([[3.0, 1.0, 0.0], [1.0, 0.0, 7.0]])
    weights = class_tf_idf(counts)
    assert weights[0, 0] == pytest.approx(3 / 4 * math.log(1 + 6 / 4))
    assert weights[1, 2] == pytest.approx(7 / 8 * math.log(1 + 6 / 7))
    assert weights[0, 2] == 0


def test_key_words_are_those_that_only_their_topic_has():
    texts = ["match goal team", "goal team match", "market bank team", "bank market rate", "zzz"]
    first, second = key_words(texts, [0, 0, 1, 1, -1], 2, 2)
    assert [word for word, _ in first] == ["goal", "match"]
    assert [word for word, _ in second] == ["bank", "market"]


def test_chinese_is_read_in_pairs_of_characters_and_stop_words_are_left_out():
    assert terms_of("The 股票市场 of 2024") == ["股票", "票市", "市场"]


def test_texts_without_any_word_have_no_key_words():
    assert key_words(["...", "123"], [0, 1], 2, 5) == [(), ()]


def test_progress_is_told_and_points_stand_in_the_order_of_the_texts(bert):
    *progress, found = find_topics(TEXTS, open_sentence_encoder(bert, Turn()), TopicsConfig(n_topics=2))
    assert isinstance(found, TopicMap)
    assert progress[-2:] == [Embedded(6, 6), Grouped(1, 1)]
    assert [point.index for point in found.points] == list(range(6))
    assert sum(topic.size for topic in found.topics) == 6


def test_the_same_texts_give_the_same_map(bert):
    encoder = open_sentence_encoder(bert, Turn())
    one, two = (list(find_topics(TEXTS, encoder, TopicsConfig()))[-1] for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("texts", "n_topics"), [(["rain", "rain"], 1), (["rain", "Paris"], 2), (["rain"] * 9 + ["in"], 2)]
)
@pytest.mark.parametrize("how", ["pca", "tsne"])
def test_few_and_equal_texts_still_give_a_map(texts, n_topics, how, bert):
    found = list(find_topics(texts, open_sentence_encoder(bert, Turn()), TopicsConfig(positions=how)))[-1]
    assert len(found.topics) == n_topics
    assert all(math.isfinite(point.x + point.y) for point in found.points)


def test_between_two_numbers_of_topics_it_can_be_stopped(blobs):
    tried = list(clusters(blobs, TopicsConfig()))
    assert tried == [Grouped(n, 8) for n in range(1, 9)]  # 2 to 9 topics, the root of 90


def test_more_topics_than_different_texts_are_refused_and_not_reduced(blobs):
    same = np.repeat(blobs[:3], 4, axis=0)
    with pytest.raises(UserError, match="No more than 3 of the texts differ: ask for fewer topics than 4"):
        clustered(same, TopicsConfig(n_topics=4))


def test_a_topic_larger_than_the_whole_table_is_refused_and_not_reduced(blobs):
    with pytest.raises(UserError, match="needs 10 texts, and there are 9: lower least_size"):
        clustered(blobs[:9], TopicsConfig(method="hdbscan"))


@pytest.mark.parametrize("options", [{"method": "hdbscan", "n_topics": 5}, {"least_size": 5}])
def test_an_option_that_a_method_makes_no_use_of_is_refused(options):
    with pytest.raises(UserError, match=f"makes no use of {list(options)[-1]}"):
        TopicsConfig(**options)


def test_one_text_is_refused(bert):
    with pytest.raises(UserError, match="at least two"):
        list(find_topics(["rain"], open_sentence_encoder(bert, Turn()), TopicsConfig()))
