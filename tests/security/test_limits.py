"""Files that claim more than they have, and templates that build more than they may, are stopped beforehand."""

import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.numpy import load_file

from llm_app.config import ModelConfig, Settings
from llm_app.engine import fit
from llm_app.engine.template import ChatTemplate
from llm_app.errors import ModelRejected, UserError
from llm_app.messages import Message
from tests import tiny
from tests.loads import load_model

GROWING = {
    "center": "messages[0].content|center(400000000)",
    "ljust": "messages[0].content.ljust(400000000)",
    "rjust": "messages[0].content.rjust(400000000)",
    "zfill": "messages[0].content.zfill(400000000)",
    "expandtabs": "(messages[0].content ~ '\t').expandtabs(400000000)",
    "replace": "messages[0].content.replace('', 'x' * 90000)",
    "replace filter": "messages[0].content|replace('z', 'x' * 90000)",
    "join": "('x' * 90000).join(messages[0].content)",
    "join filter": "messages[0].content|list|join('x' * 90000)",
    "join of a generator": "messages[0].content|map('upper')|join('x' * 90000)",
    "indent": "messages[0].content|indent(400000000, first=true)",
    "indent with a text": "'\n'.join(messages[0].content)|indent('x' * 90000)",
    "% width": "'%400000000d' % 7",
    "% width from a variable": "'%*d' % (400000000, 7)",
    "format filter": "'%400000000d'|format(7)",
    "format method": "'{:400000000}'.format(7)",
    "format method with a width from a variable": "'{:{}}'.format(7, 400000000)",
    "repetition": "messages[0].content * 400000000",
    "repetition of bytes": "messages[0].content.encode() * 400000000",
    "a large number": "(7).to_bytes(400000000)",
    "tojson": "messages|tojson(indent=400000000)",
    "mapped": "messages|map(attribute='content')|map('center', 400000000)|list",
}
DOUBLING = {
    "~": "set ns.a = ns.a ~ ns.a", "+": "set ns.a = ns.a + ns.a", "lists": "set ns.a = [ns.a, ns.a]",
    "%": "set ns.a = '%s%s' % (ns.a, ns.a)", "numbers": "set ns.b = ns.b * ns.b",
    "captured": "set ns.c %}{{ ns.c }}{{ ns.c }}{% endset",
}


def refused_cheaply(template: str) -> None:
    """It passes the try-out, since it behaves there; and it is stopped before the memory is full."""
    checked = ChatTemplate("{% if 'zq' in messages[0].content %}" + template + "{% else %}hi{% endif %}")
    assert checked.render([Message("user", "Hello?")]) == "hi"
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="chat template failed: it "):
            checked.render([Message("user", "zq" * 100)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50 * 2**20


@pytest.mark.parametrize("name", GROWING)
def test_A2_a_template_that_knows_the_try_out_cannot_fill_the_memory_later(name: str) -> None:
    refused_cheaply("{{ " + GROWING[name] + " }}")


@pytest.mark.parametrize("name", DOUBLING)
def test_A2_a_template_that_doubles_a_value_again_and_again_is_stopped(name: str) -> None:
    start = "{% set ns = namespace(a='xxxxxxxxxxxxxxxx', b=77, c='x') %}{% for i in range(60) %}{% "
    refused_cheaply(start + DOUBLING[name] + " %}{% endfor %}{{ ns.a }}")


def test_A2_a_long_conversation_still_goes_through_a_template_that_copies_a_lot() -> None:
    copying = (
        "{% set ns = namespace(a='') %}{% for m in messages %}"
        "{% set ns.a = ns.a + '<' + m.role + '>' + m.content|trim|replace('a', 'a') ~ '\n' %}{% endfor %}{{ ns.a }}"
    )
    rendered = ChatTemplate(copying).render([Message("user", "a" * 500)] * 200)
    assert rendered == ("<user>" + "a" * 500 + "\n") * 200


def changed(source: Path, path: Path, changes: dict[str, tuple[gguf.GGUFValueType, Any]]) -> Path:
    """A copy of a GGUF file with other values."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(path, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture" or field.name in changes:
            continue
        sub_type = field.types[1] if len(field.types) > 1 else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type)
    for key, (kind, value) in changes.items():
        sub_type = gguf.GGUFValueType.INT32 if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, value, kind, sub_type)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


STRING, ARRAY, FLOAT, UINT = (gguf.GGUFValueType[name] for name in ("STRING", "ARRAY", "FLOAT32", "UINT32"))
LINEAR = {"llama.rope.scaling.type": (STRING, "linear")}
MISTYPED = {
    "tokenizer.ggml.eos_token_id": (STRING, "2"), "tokenizer.ggml.bos_token_id": (ARRAY, [1, 2]),
    "tokenizer.ggml.eot_token_id": (STRING, "x"), "tokenizer.ggml.model": (UINT, 7),
    "tokenizer.ggml.tokens": (UINT, 7), "tokenizer.ggml.merges": (UINT, 7), "tokenizer.ggml.token_type": (STRING, "x"),
    "tokenizer.ggml.add_bos_token": (STRING, "no"), "tokenizer.chat_template": (UINT, 7),
    "llama.rope.scaling.factor": (STRING, "many"), "llama.rope.scaling.type": (UINT, 7),
    "llama.attention.key_length": (STRING, "16"), "llama.block_count": (STRING, "2"),
    "llama.context_length": (FLOAT, 512.5), "llama.embedding_length": (STRING, "64"),
    "llama.attention.head_count": (STRING, "4"), "llama.attention.layer_norm_rms_epsilon": (STRING, "small"),
    "llama.rope.freq_base": (STRING, "x"), "llama.feed_forward_length": (STRING, "x"),
}


@pytest.mark.parametrize("key", MISTYPED)
def test_A8_metadata_of_another_type_is_refused_by_its_key(key: str, tiny_llama: Path, settings: Settings) -> None:
    plain = tiny.make_gguf(tiny_llama, settings.home.parent / "plain.gguf")
    changed(plain, settings.models / "odd.gguf", {**LINEAR, key: MISTYPED[key]})
    with pytest.raises(ModelRejected, match=key.replace(".", r"\.")):
        load_model(ModelConfig("odd.gguf"), settings)


def test_A8_more_layers_than_there_are_tensors_for_are_refused_at_once(tiny_llama: Path, settings: Settings) -> None:
    plain = tiny.make_gguf(tiny_llama, settings.home.parent / "plain.gguf")
    changed(plain, settings.models / "many.gguf", {"llama.block_count": (UINT, 3000)})
    folder = settings.models / "many"
    folder.mkdir()
    for file in tiny_llama.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3000}))
    start = time.perf_counter()
    for name in ("many.gguf", "many"):
        with pytest.raises(ModelRejected, match=r"3,000.* of 2"):
            load_model(ModelConfig(name), settings)
    assert time.perf_counter() - start < 2.0
    assert len(load_file(folder / "model.safetensors")) > 2


@pytest.mark.parametrize(
    ("limit", "used"),
    [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")],
)
def test_memory_that_the_container_does_not_give_is_not_free(limit: str, used: str, tmp_path: Path) -> None:
    device = torch.device("cpu")
    machine = fit.free_bytes(device, groups=tmp_path)
    assert machine > 2_000
    (tmp_path / limit).parent.mkdir(exist_ok=True)
    (tmp_path / used).write_text("1000\n")
    (tmp_path / limit).write_text("max\n")
    assert fit.free_bytes(device, groups=tmp_path) > 2_000
    (tmp_path / limit).write_text("3000\n")
    assert fit.free_bytes(device, groups=tmp_path) == 2_000
    (tmp_path / limit).write_text("900\n")
    assert fit.free_bytes(device, groups=tmp_path) == 0
