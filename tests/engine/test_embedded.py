"""The model that ships with the installation, against transformers on the same weights."""

import math
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from llm_app import chat
from llm_app.config import ModelConfig, SamplingConfig, Settings
from llm_app.engine import catalog, compact
from llm_app.engine.host import Host
from llm_app.engine.packed import copy_bytes, only_blocks
from llm_app.engine.scoring import rolling
from llm_app.messages import Message
from tests.running import ids_of, text_of

GREEDY = SamplingConfig(temperature=0.0, max_new_tokens=48)
QUESTIONS = [f"Tell me something about the number {n} and about tea." for n in range(31)]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(Settings(home=tmp_path_factory.mktemp("home")))
    for _ in host.load(ModelConfig("embedded", precision="fp32")):
        pass
    yield host
    host.unload()


def prompt(host: Host, text: str) -> list[int]:
    return list(chat.render(host.loaded, [Message("user", text)]).token_ids)


def test_the_embedded_model_answers_a_question_it_knows(host: Host) -> None:
    stream = chat.reply(host, [Message("user", "What is the capital of France?")], GREEDY)
    assert "Paris" in text_of(list(stream))


@pytest.mark.verify
@pytest.mark.timeout(600)
def test_C17_greedy_text_is_that_of_generate_alone_and_among_31_neighbours(host: Host) -> None:
    from transformers import AutoModelForCausalLM, GgufConfig

    path = catalog.embedded_model()
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    ).eval()
    ids = prompt(host, "Why is the sky blue?")
    x = torch.tensor([ids])
    output = model.generate(x, attention_mask=torch.ones_like(x), do_sample=False, max_new_tokens=48)[0, len(ids) :]
    want = [token for token in output.tolist() if token not in host.loaded.eos_ids]
    assert ids_of(host.stream(ids, GREEDY)) == want
    neighbours = [host.stream(prompt(host, question), GREEDY) for question in QUESTIONS]
    assert ids_of(host.stream(ids, GREEDY)) == want
    assert all(ids_of(stream) for stream in neighbours)


@pytest.fixture(scope="module")
def peft_adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that plain peft made on the embedded weights as transformers reads them."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, GgufConfig

    path = catalog.embedded_model()
    base = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    torch.manual_seed(0)
    tuned = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    folder = tmp_path_factory.mktemp("adapter") / "made-by-peft"
    tuned.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("precision", ["gguf", pytest.param("fp32", marks=pytest.mark.verify)])
def test_an_adapter_of_plain_peft_changes_the_answers_and_leaves_the_base_as_it_was(
    precision: str, peft_adapter: Path, tmp_path: Path
) -> None:
    host = Host(Settings(home=tmp_path / "home"))
    for _ in host.load(ModelConfig("embedded", precision=precision)):
        pass
    ids = prompt(host, "Why is the sky blue?")
    before = ids_of(host.stream(ids, GREEDY))
    report = host.attach(str(peft_adapter))
    assert report.has_effect and report.n_modules == 60
    assert ids_of(host.stream(ids, GREEDY, adapter=host.adapter)) != before
    assert ids_of(host.stream(ids, GREEDY)) == before
    host.detach(report.name)
    assert ids_of(host.stream(ids, GREEDY)) == before
    host.unload()


def perplexity(host: Host, ids: list[int]) -> float:
    """Of one token after another, each from up to 1,024 tokens before it, as lm-evaluation-harness rolls."""
    prefix = host.loaded.tokenizer.bos_token_id
    ((_, total),) = rolling(host.loaded, host.turn, [ids], prefix_token=prefix)
    return math.exp(-total / len(ids))


@pytest.mark.verify
@pytest.mark.timeout(900)
def test_the_default_precision_costs_less_than_half_a_percent_of_perplexity_on_wikitext2(
    host: Host, hub_data: Path, tmp_path: Path
) -> None:
    """Against the dequantised weights in float32, which the tests above hold against transformers."""
    table = pq.read_table(hub_data / "Salesforce" / "wikitext" / "wikitext-2-raw-v1" / "test.parquet")
    ids = host.loaded.tokenizer("".join(table["text"].to_pylist())[:80_000])["input_ids"]
    host.loaded.n_context = 1024
    exact = perplexity(host, ids)
    packed_host = Host(Settings(home=tmp_path))
    for _ in packed_host.load(ModelConfig("embedded", context_length=1024)):
        pass
    loaded = packed_host.loaded
    assert loaded.precision == "gguf"
    found = [perplexity(packed_host, ids)]
    if copy_bytes(loaded.model, *compact.joined(loaded.model)):
        with only_blocks(loaded.model, *compact.joined(loaded.model)):
            found.append(perplexity(packed_host, ids))
    packed_host.unload()
    print(f"{len(ids):,} tokens: {exact:.4f} exact, {found} (with copies and without, where there are some)")
    assert all(abs(each / exact - 1) < 0.005 for each in found)
