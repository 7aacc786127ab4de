"""Trained encoders against transformers' own pipeline on the same folder."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    BertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    pipeline,
)

from llm_app.classify.encoder import leave_out_unread, longest, new_encoder, open_encoder
from llm_app.classify.network import NetworkClassifier, batches
from llm_app.classify.types import Item, Prediction, Unclassified
from llm_app.engine.plain_folder import PlainFolder
from llm_app.engine.turn import Turn
from llm_app.engine.weights import CLASSIFIES
from llm_app.errors import ModelRejected, UserError
from tests.classify.making import make_encoder, make_word_pieces

CPU = torch.device("cpu")
TEXTS = [
    "a great film", "the plot is very dull", "", "boring", "this was not so bad but not good in the end",
    "brilliant brilliant", "it is what it is", "one of the best",
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


def opened(folder: Path, *, is_strict: bool = False) -> NetworkClassifier:
    network, file = open_encoder(PlainFolder(folder, CLASSIFIES), None, CPU, name=folder.name)
    return NetworkClassifier(network, file, {}, Turn(), is_strict=is_strict)


def scores(classifier: NetworkClassifier, items: Sequence[Item]) -> list[tuple[float, ...]]:
    """In the order of the items."""
    found = sorted(classifier.predict(items), key=lambda outcome: outcome.index)
    return [outcome.scores for outcome in found if isinstance(outcome, Prediction)]


def pipelines(folder: Path, given: Sequence[object]) -> list[list[float]]:
    """The oracle: every label's score, in the order of the labels."""
    theirs = pipeline("text-classification", model=str(folder), device="cpu", top_k=None)
    order = theirs.model.config.label2id
    return [[entry["score"] for entry in sorted(row, key=lambda e: order[e["label"]])] for row in theirs(list(given))]


@pytest.mark.parametrize(
    ("labels", "problem"),
    [(("negative", "positive"), None), (("a", "b", "c"), "single_label_classification"),
     (("a", "b", "c"), "multi_label_classification"), (("stars",), "regression")],
)  # fmt: skip
def test_scores_equal_the_pipeline_of_transformers(tmp_path: Path, labels: tuple[str, ...], problem: str | None):
    folder = make_encoder(tmp_path / "tiny", labels, problem=problem)
    expected = pipelines(folder, TEXTS)
    for ours, theirs in zip(scores(opened(folder), [Item(text) for text in TEXTS]), expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_the_scores_of_pairs_equal_the_pipeline(encoder: Path):
    # The pipeline takes an empty second text for none at all; here it stays one.
    pairs = [(text, pair) for text, pair in zip(TEXTS, TEXTS[::-1], strict=True) if pair]
    expected = pipelines(encoder, [{"text": text, "text_pair": pair} for text, pair in pairs])
    for ours, theirs in zip(scores(opened(encoder), [Item(*pair) for pair in pairs]), expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_an_item_gets_the_same_alone_and_among_others(encoder: Path):
    classifier = opened(encoder)
    together = scores(classifier, [Item(text) for text in TEXTS])
    alone = [scores(classifier, [Item(text)])[0] for text in TEXTS]
    assert [score for row in together for score in row] == pytest.approx([s for row in alone for s in row], abs=1e-5)


def test_rows_of_a_pass_are_alike_in_length_and_none_is_lost(encoder: Path):
    rows = opened(encoder).network.rows([Item("good " * n) for n in (1, 30, 2, 31, 40, 2, 29)])
    found = batches(rows, budget_tokens=70)
    assert sorted(place for batch in found for place in batch) == list(range(7))
    assert [sorted(batch) for batch in found] == [[4], [1, 3], [6], [2, 5], [0]]


def test_the_tokens_that_are_cut_are_those_the_tokenizer_leaves_out(encoder: Path):
    text = "good film " * 50
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    n_whole = len(tokenizer(text, verbose=False)["input_ids"])
    (found,) = opened(encoder).predict([Item(text)])
    assert isinstance(found, Prediction)
    assert found.n_cut == n_whole - 64 > 0


def test_nothing_is_cut_when_strict(encoder: Path):
    found = list(opened(encoder, is_strict=True).predict([Item("fine"), Item("good film " * 50), Item("dull")]))
    refused = [outcome for outcome in found if isinstance(outcome, Unclassified)]
    assert [outcome.index for outcome in refused] == [1]
    assert "tokens more than the classifier reads" in refused[0].reason and "不许截断" in refused[0].reason_zh
    assert len(found) == 3


def test_items_with_and_without_a_second_text_are_refused_together(encoder: Path):
    with pytest.raises(UserError, match="second text"):
        list(opened(encoder).predict([Item("a"), Item("a", "b")]))


def test_positions_that_roberta_never_uses_are_not_counted(tmp_path: Path):
    tokenizer = make_word_pieces(34)
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=34, pad_token_id=1,
    )
    model = RobertaForSequenceClassification(config).eval()
    n = longest(model, tokenizer)
    assert n == 32  # RoBERTa's own: 514 positions for 512 tokens
    assert model(torch.full((1, n), 5)).logits.shape == (1, 2)


def test_a_new_head_is_made_for_training_and_the_encoder_beneath_it_is_the_files_own(tmp_path: Path):
    folder = PlainFolder(make_encoder(tmp_path / "plain", has_head=False), CLASSIFIES)
    network = new_encoder(folder, "single", ("x", "y", "z"), 1_000, CPU)
    assert network.max_length == 64
    assert network.logits(network.rows([Item("good")])).shape == (1, 3)
    own, _ = PlainFolder(folder.path, CLASSIFIES).model(type(network.module))
    assert torch.equal(network.embeddings.weight, own.get_input_embeddings().weight)


def test_labels_that_are_given_twice_in_a_configuration_are_refused(tmp_path: Path):
    with pytest.raises(ModelRejected, match="'same' is given twice"):
        opened(make_encoder(tmp_path / "tiny", ("same", "same")))


def test_one_that_learned_from_pairs_does_not_answer_from_half_of_one(encoder: Path):
    network, file = open_encoder(PlainFolder(encoder, CLASSIFIES), None, CPU, name="pairs")
    classifier = NetworkClassifier(network, replace(file, is_pair=True), {}, Turn())
    assert len(scores(classifier, [Item("great", "dull")])) == 1
    with pytest.raises(UserError, match="second text"):
        list(classifier.predict([Item("great")]))


def test_a_text_is_cut_the_same_whoever_else_asks_meanwhile(encoder: Path):
    network, _ = open_encoder(PlainFolder(encoder, CLASSIFIES), None, CPU, name="busy")
    long, short = Item("great " * 3_000), Item("dull")
    (expected,) = network.rows([long])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: network.rows([long if number % 2 else short])[0], range(60)))
    assert {(len(row.ids), row.n_cut) for row in found[1::2]} == {(len(expected.ids), expected.n_cut)}


def test_the_last_layer_goes_on_with_the_first_token_alone(encoder: Path):
    network, _ = open_encoder(PlainFolder(encoder, CLASSIFIES), None, CPU, name="short")
    seen: list[tuple[int, ...]] = []
    for layer in network.module.get_submodule("bert.encoder.layer"):
        layer.intermediate.register_forward_hook(lambda module, given, output: seen.append(tuple(output.shape[:2])))
    (row,) = network.rows([Item("a great film")])
    network.logits([row, row])
    assert seen == [(2, len(row.ids)), (2, 1)]


class MeanPooler(nn.Module):
    """Reads all tokens."""

    def forward(self, states: Tensor) -> Tensor:
        return states.mean(1)


def test_a_head_that_reads_all_tokens_gets_them_all(encoder: Path):
    model = BertForSequenceClassification.from_pretrained(encoder).eval()
    model.bert.pooler = MeanPooler()
    ids = torch.tensor([[5, 6, 7]])
    before = model(ids).logits
    assert not leave_out_unread(model)
    assert torch.equal(model(ids).logits, before)
