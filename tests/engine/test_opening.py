"""What all chats begin with is read once, and they say what they would have said."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llm_app.config import SamplingConfig, Settings
from llm_app.engine import batch
from llm_app.engine.host import Host
from llm_app.engine.opening import LEAST_TOKENS, MOST_TOKENS, Opening, opening_ids
from llm_app.engine.template import ChatTemplate
from llm_app.engine.turn import BATCH
from tests import tiny
from tests.running import GREEDY, ids_of, running

REPLY = replace(GREEDY, max_new_tokens=12, ignore_eos=True)
INSTRUCTIONS = "You answer in short and simple words, and you say so when you do not know."
TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\n" + INSTRUCTIONS + "<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QUESTIONS = ("Why?", "  two words", "你好", "7 and 7", "\n\nA line below", "<|im_start|>", "a" * 300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model(tmp_path_factory.mktemp("opening") / "model", template=TEMPLATE)


@pytest.fixture
def host(folder: Path, settings: Settings) -> Iterator[Host]:
    with running(folder, settings) as host:
        yield host


def asked(host: Host, *turns: str) -> list[int]:
    """A chat's prompt as transformers writes it; the second turn is the model's."""
    chat = [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
    ids: list[int] = host.loaded.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    return ids


def opening_of(host: Host) -> list[int]:
    return list(opening_ids(host.loaded.tokenizer, host.loaded.template))


@torch.inference_mode()
def alone(host: Host, prompt: list[int]) -> list[int]:
    """The reply by the model's own forward, all of the text anew for each token, without any cache."""
    ids = list(prompt)
    for _ in range(REPLY.max_new_tokens):
        ids.append(int(host.loaded.model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def settled(host: Host) -> None:
    while host.status().n_running:
        time.sleep(0.001)


def test_it_is_what_every_chat_begins_with(host: Host) -> None:
    opening = opening_of(host)
    assert host.loaded.tokenizer.decode(opening) == f"<|im_start|>system\n{INSTRUCTIONS}<|im_end|>\n<|im_start|>user\n"
    for question in QUESTIONS:
        assert asked(host, question)[: len(opening)] == opening


@pytest.mark.parametrize(
    "template",
    [
        None,
        "{% for m in messages %}{{ m['content'] }}{% endfor %}",
        "{% if messages | length < 2 %}{{ raise_exception('two turns at least') }}{% endif %}Hello.",
        "{{ messages[0]['content'] }} is what you are asked. Answer in short and simple words, and in no others.",
    ],
)
def test_a_template_may_have_none(template: str | None) -> None:
    tokenizer = tiny.make_tokenizer(template)
    assert opening_ids(tokenizer, ChatTemplate.of(tokenizer)) == ()


def test_chats_read_what_follows_it_and_say_what_the_model_says(host: Host, n_read: list[int]) -> None:
    n = len(opening_of(host))
    prompts = [asked(host, question) for question in QUESTIONS]
    for prompt in prompts:
        assert ids_of(host.stream(prompt, REPLY)) == alone(host, prompt)
    assert n_read == [len(prompt) - n for prompt in prompts]
    settled(host)
    del n_read[:]
    streams = [host.stream(prompt, REPLY) for prompt in prompts]  # some of them join at once
    assert [ids_of(stream) for stream in streams] == [alone(host, prompt) for prompt in prompts]
    assert sum(n_read) == sum(len(prompt) - n for prompt in prompts)


def test_the_first_chat_gets_the_very_numbers_of_all_others(host: Host) -> None:
    rules = SamplingConfig(temperature=0.0, max_new_tokens=4, n_logprobs=3, ignore_eos=True)
    prompt = asked(host, "Why is the sky blue?")

    def told() -> list[object]:
        logprobs = [each for delta in host.stream(prompt, rules) for each in delta.logprobs]
        settled(host)
        return [(each.token_id, each.logprob, each.top) for each in logprobs]

    first = told()
    ids_of(host.stream(asked(host, "Something else"), rules))
    assert len(first) == 4 and told() == first


def test_prompts_that_do_not_go_on_from_it_are_read_whole(host: Host, n_read: list[int]) -> None:
    opening = opening_of(host)
    others = [opening, opening[:-1], [*opening[:-1], opening[0], 7, 7, 7], opening[1:] * 2]
    for prompt in others:
        assert ids_of(host.stream(prompt, REPLY)) == alone(host, prompt)
    assert n_read == [len(prompt) for prompt in others]


def test_the_next_turn_goes_on_from_its_chat_and_not_only_from_the_opening(host: Host, n_read: list[int]) -> None:
    questions = [f"{'On and on. ' * 20}{i}?" for i in range(2)]
    for question in questions:
        ids_of(host.stream(asked(host, question), REPLY))
        settled(host)
    prompts = [asked(host, question) for question in questions]
    thirds = [asked(host, question, "So it is.", "And then?") for question in questions]
    for third in thirds:  # the first of the two chats is still there after the other
        assert ids_of(host.stream(third, REPLY)) == alone(host, third)
        settled(host)
    assert all(n < len(prompt) // 2 for n, prompt in zip(n_read[2:], prompts, strict=True))
    del n_read[:]
    ids_of(host.stream(prompts[0], REPLY))
    assert n_read == [len(prompts[0]) - len(opening_of(host))], "asked again: read as the first time"


def test_chats_that_go_on_and_new_ones_join_at_once(host: Host) -> None:
    earlier = asked(host, "On and on. " * 20)
    ids_of(host.stream(earlier, REPLY))
    settled(host)
    prompts = [
        asked(host, "Why?"), asked(host, "On and on. " * 20, "So it is.", "Then?"), list(range(5, 60)),
        asked(host, "Who?"), asked(host, "Where is it, and since when?"),
    ]  # fmt: skip
    with host.turn.held():  # nothing joins before all are there
        streams = [host.stream(prompt, REPLY) for prompt in prompts]
    assert [ids_of(stream) for stream in streams] == [alone(host, prompt) for prompt in prompts]


def test_what_an_evaluation_asks_is_read_whole(host: Host, n_read: list[int]) -> None:
    prompt = asked(host, "Why?")
    ids_of(host.stream(prompt, REPLY, rank=BATCH))
    assert n_read == [len(prompt)]


def test_each_adapter_has_its_own(host: Host, folder: Path, tmp_path: Path, n_read: list[int]) -> None:
    prompt = asked(host, "Why?")
    base = ids_of(host.stream(prompt, REPLY))
    host.loaded.adapters.attach(tiny.make_adapter(folder, tmp_path / "adapter"), name="a")
    for _ in range(2):
        tuned = ids_of(host.stream(prompt, REPLY, adapter="a"))
        settled(host)
        with host.turn.held():
            host.loaded.adapters.use("a")
            want = alone(host, prompt)
            host.loaded.adapters.use(None)
        assert tuned == want != base
        assert ids_of(host.stream(prompt, REPLY)) == base
    assert n_read == [len(prompt) - len(opening_of(host))] * 5


def test_a_public_server_has_it_too(folder: Path, settings: Settings, n_read: list[int]) -> None:
    shutil.copytree(folder, settings.home / "models" / "tiny")
    with running(Path("tiny"), replace(settings, is_public=True)) as host:
        prompt = asked(host, "Why?")
        assert ids_of(host.stream(prompt, REPLY)) == alone(host, prompt)
        assert n_read == [len(prompt) - len(opening_of(host))]


def test_another_adapter_of_the_same_name_has_its_own(host: Host, folder: Path, tmp_path: Path) -> None:
    prompt = asked(host, "Why?")
    for seed in (1, 2):
        adapter = tiny.make_adapter(folder, tmp_path / f"adapter-{seed}", seed=seed)
        host.loaded.adapters.attach(adapter, name="a")
        said = ids_of(host.stream(prompt, REPLY, adapter="a"))
        settled(host)
        with host.turn.held():
            host.loaded.adapters.use("a")
            assert said == alone(host, prompt)
            host.loaded.adapters.use(None)
        with host.turn.held():
            host.loaded.adapters.detach("a")


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_of_all_families_and_in_chunks_beside_others(
    family: str, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, n_read: list[int]
) -> None:
    monkeypatch.setattr(batch, "CHUNK_TOKENS", 20)
    folder = tiny.make_model(tmp_path / family, family=family, template=TEMPLATE)
    with running(folder, settings) as host:
        first = host.stream(asked(host, "Why?"), replace(REPLY, max_new_tokens=200))
        next(first)  # it is under way: what comes now is read beside it, and makes the cache grow
        prompts = [asked(host, "On and on. " * 20), asked(host, "Who?"), asked(host, "Where is it? " * 10)]
        assert [ids_of(host.stream(prompt, REPLY)) for prompt in prompts] == [alone(host, p) for p in prompts]
        first.close()
    assert max(n_read[1:]) <= 20


def test_one_that_leaves_while_it_is_read_leaves_the_others_alone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "CHUNK_TOKENS", 20)
    monkeypatch.setattr(batch, "IDLE_CHUNK_TOKENS", 20)
    prompts = [asked(host, "On and on. " * n) for n in (30, 3, 20, 1)]
    for gone in range(len(prompts)):
        streams = [host.stream(prompt, REPLY) for prompt in prompts]
        time.sleep(0.01 * gone)
        streams[gone].close()
        for i, stream in enumerate(streams):
            assert i == gone or ids_of(stream) == alone(host, prompts[i])


def test_what_is_not_finite_is_not_held(host: Host) -> None:
    opening, model = Opening(opening_of(host)), host.loaded.model
    row = model.get_input_embeddings().weight.data[opening_of(host)[3]]
    before = row.clone()
    row.fill_(float("nan"))
    opening.states(model, "")
    assert opening.n_bytes == 0
    row.copy_(before)
    assert all(each.isfinite().all() for pair in opening.states(model, "") for each in pair)
    assert opening.n_bytes > 0


def test_those_last_used_are_held_and_all_go_with_the_model(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    opening, model = Opening(range(5, 5 + LEAST_TOKENS)), host.loaded.model
    first = opening.states(model, "0")
    one = opening.n_bytes
    assert opening.states(model, "0") is first
    monkeypatch.setattr("llm_app.engine.opening.MOST_BYTES", 3 * one)
    second = opening.states(model, "1")
    opening.states(model, "2")
    assert opening.states(model, "0") is first
    opening.states(model, "3")
    assert opening.n_bytes == 3 * one
    assert opening.states(model, "0") is first and opening.states(model, "1") is not second
    assert host._decoder is not None
    held = host._decoder._opening
    ids_of(host.stream(asked(host, "Why?"), REPLY))
    assert held.n_bytes > 0
    host.unload()
    assert held.n_bytes == 0


def test_a_template_that_writes_the_day_and_a_long_one() -> None:
    dated = "{{ 'You answer in short and simple words, and kindly. It is ' + strftime_now('%d %b %Y') }}\n" + TEMPLATE
    tokenizer = tiny.make_tokenizer(dated)
    opening = tokenizer.decode(opening_ids(tokenizer, ChatTemplate.of(tokenizer)))
    assert opening == "You answer in short and simple words, and kindly. It is "[: len(opening)] and len(opening) > 40
    tokenizer = tiny.make_tokenizer("Words of all kinds. " * 400 + TEMPLATE)
    assert len(opening_ids(tokenizer, ChatTemplate.of(tokenizer))) == MOST_TOKENS
