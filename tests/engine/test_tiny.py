"""The tiny models are what they say they are."""

import socket
import unicodedata
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests import tiny

TEXTS = [
    "Hello  world\n", "สวัสดีครับ", "汉字与漢字", "👩‍👩‍👧‍👦 flag 🇹🇭",
    "e\u0301 \u200b \t end ", "<|im_start|>user\nhi<|im_end|>\n",
]


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_each_tiny_family_loads_and_its_tokenizer_loses_nothing(family: str, tmp_path: Path) -> None:
    folder = tiny.make_model(tmp_path / family, family=family)
    model = tiny.load_plain(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        expected = unicodedata.normalize("NFC", text) if family == "qwen2" else text
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == expected
    ids = tokenizer("hello world, how are you today", return_tensors="pt").input_ids
    made = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1]:].tolist()
    assert len(set(made)) > 3
    assert model.config.model_type.startswith(family)


def test_thai_characters_span_several_tokens() -> None:
    assert len(tiny.make_tokenizer().encode("ส")) == 3


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_a_tiny_gguf_read_by_transformers_gives_the_logits_of_its_folder(family: str, tmp_path: Path) -> None:
    folder = tiny.make_model(tmp_path / family, family=family)
    file = tiny.make_gguf(folder, tmp_path / "tiny.gguf", kind="F32")
    ids = torch.tensor([tiny.make_tokenizer().encode("hello world, how are you today")])
    with torch.inference_mode():
        expected = tiny.load_plain(folder)(ids).logits
        model = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=file.name, dtype=torch.float32)
        torch.testing.assert_close(model.eval()(ids).logits, expected)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, gguf_file=file.name)
    assert tokenizer.encode(TEXTS[0]) == tiny.make_tokenizer().encode(TEXTS[0])


def test_connections_to_other_machines_fail_in_tests() -> None:
    with pytest.raises(AssertionError, match="this machine only"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
