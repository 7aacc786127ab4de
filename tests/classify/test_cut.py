"""A pair that is too long: the longer text is cut, whatever reads it."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, AutoTokenizer

from llm_app.classify.cut import kept_of_pair
from llm_app.classify.lora_head import LoraHeadNetwork
from llm_app.classify.lstm import BETWEEN, LstmModel, LstmNetwork
from llm_app.classify.types import Item


@given(st.integers(0, 40), st.integers(0, 40), st.integers(2, 60))
def test_as_many_tokens_of_each_text_stay_as_tokenizers_leave(n_first: int, n_second: int, room: int) -> None:
    """Oracle: the strategy longest_first of the package tokenizers."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
    tokenizer.enable_truncation(room, strategy="longest_first")
    found = tokenizer.encode("a " * n_first, "b " * n_second)
    assert kept_of_pair(n_first, n_second, room) == (found.type_ids.count(0), found.type_ids.count(1))


def test_an_lstm_reads_both_texts_of_a_long_pair() -> None:
    network = LstmNetwork(LstmModel(2, 2), ("one", "two"), max_length=9)
    (row,) = network.rows([Item("one " * 50, "two two two")])
    assert row.ids == (3,) * 5 + (BETWEEN,) + (4,) * 3 and row.n_cut == 45


@pytest.mark.parametrize(("text", "pair"), [("hello " * 60, "the question"), ("the question", "hello " * 60)])
def test_a_lora_head_reads_both_texts_of_a_long_pair(text: str, pair: str, tiny_llama: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_llama), AutoTokenizer.from_pretrained(tiny_llama)
    network = LoraHeadNetwork(model, torch.nn.Linear(model.config.hidden_size, 2), tokenizer, 32)
    (row,) = network.rows([Item(text, pair)])
    read = tokenizer.decode(row.ids, skip_special_tokens=True)
    assert len(row.ids) == 32 and row.n_cut > 0
    assert "the question" in read and "hello hello" in read and "\n" in read
