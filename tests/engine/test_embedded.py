"""The model that ships with the installation, against transformers on the same weights."""

from collections.abc import Iterator

import pytest
import torch

from llm_app import chat
from llm_app.config import ModelConfig, SamplingConfig, Settings
from llm_app.engine import catalog
from llm_app.engine.host import Host
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
