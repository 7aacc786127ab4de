"""Continuous batching against transformers."""

import json
import random
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llm_app.config import SamplingConfig, ServeConfig, Settings
from llm_app.engine import request as request_module
from llm_app.engine.host import Host
from llm_app.errors import ContextLengthExceeded, QueueFull
from tests import tiny
from tests.running import GREEDY, ids_of, running, text_of

LENGTHS = (1, 3, 17, 40, 90)
LONG = replace(GREEDY, max_new_tokens=60, ignore_eos=True)


def prompts(n: int, seed: int = 1) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(5, 250) for _ in range(rng.choice(LENGTHS))] for _ in range(n)]


def generate(folder: Path, prompt: list[int], **options: object) -> list[int]:
    """What transformers.generate answers, without the end token that we do not pass on."""
    model = tiny.load_plain(folder)
    ids = torch.tensor([prompt])
    options = {"max_new_tokens": GREEDY.max_new_tokens, "do_sample": False} | options
    output = model.generate(ids, attention_mask=torch.ones_like(ids), **options)
    tokens = output[0, len(prompt) :].tolist()
    end = model.generation_config.eos_token_id
    return tokens[: tokens.index(end)] if end in tokens else tokens


@pytest.fixture
def host(tiny_llama: Path, settings: Settings) -> Iterator[Host]:
    with running(tiny_llama, settings) as host:
        yield host


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_greedy_decoding_equals_transformers_generate_for_requests_that_join_at_different_times(
    family: str, request: pytest.FixtureRequest, settings: Settings
) -> None:
    folder = request.getfixturevalue(f"tiny_{family}")
    with running(folder, settings) as host:
        assert host.loaded.is_batchable
        streams = []
        for i, prompt in enumerate(prompts(12)):
            streams.append((prompt, host.stream(prompt, GREEDY)))
            time.sleep(0.003 * (i % 3))
        for prompt, stream in streams:
            assert ids_of(stream) == generate(folder, prompt)


def test_C17_a_prompt_alone_and_among_31_neighbours_gives_the_same_tokens(host: Host) -> None:
    first, *others = prompts(32)
    alone = ids_of(host.stream(first, GREEDY))
    crowd = [host.stream(prompt, replace(GREEDY, max_new_tokens=4 + i)) for i, prompt in enumerate(others[:16])]
    among = host.stream(first, GREEDY)
    crowd += [host.stream(prompt, GREEDY) for prompt in others[16:]]
    assert ids_of(among) == alone
    assert all(ids_of(stream) for stream in crowd)


def test_sampled_text_depends_on_the_seed_and_not_on_the_neighbours(host: Host) -> None:
    rules = SamplingConfig(temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=16, seed=7)
    prompt, *others = prompts(9)
    alone = ids_of(host.stream(prompt, rules))
    crowd = [host.stream(other, replace(rules, seed=None)) for other in others]
    assert ids_of(host.stream(prompt, rules)) == alone
    assert ids_of(host.stream(prompt, replace(rules, seed=8))) != alone
    for stream in crowd:
        stream.close()


def test_a_prompt_read_in_chunks_beside_a_running_reply_gives_the_same_tokens(tiny_llama: Path, host: Host) -> None:
    long = [5 + i % 200 for i in range(400)]
    running_reply = host.stream(prompts(1)[0], replace(GREEDY, max_new_tokens=200))
    next(running_reply)
    assert ids_of(host.stream(long, GREEDY)) == generate(tiny_llama, long)
    running_reply.close()


@pytest.mark.parametrize("n_beams", [2, 4])
def test_beam_search_equals_transformers_generate(tiny_llama: Path, host: Host, n_beams: int) -> None:
    for prompt in prompts(3):
        assert ids_of(host.stream(prompt, replace(GREEDY, n_beams=n_beams))) == generate(
            tiny_llama, prompt, num_beams=n_beams
        )


def test_an_architecture_that_cannot_be_batched_gives_the_same_tokens_through_generate(
    tiny_llama: Path, host: Host
) -> None:
    host.loaded.is_batchable = False
    streams = [(prompt, host.stream(prompt, GREEDY)) for prompt in prompts(6)]
    for prompt, stream in streams:
        assert ids_of(stream) == generate(tiny_llama, prompt)


def test_a_model_whose_attention_is_capped_is_found_not_to_batch(settings: Settings, tmp_path: Path) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    from llm_app.engine.forward import ATTENTION
    from llm_app.engine.probe import batches_correctly

    config = Gemma2Config(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=64,
        attn_logit_softcapping=1.0,
    )
    config._attn_implementation = ATTENTION
    assert not batches_correctly(Gemma2ForCausalLM(config).eval(), 64)


def test_log_probabilities_are_those_of_the_unchanged_model(tiny_llama: Path, host: Host) -> None:
    prompt = prompts(1)[0]
    rules = SamplingConfig(temperature=0.5, top_k=5, repetition_penalty=1.3, max_new_tokens=8, seed=1, n_logprobs=3)
    described = [token for delta in host.stream(prompt, rules) for token in delta.logprobs]
    ids = [token.token_id for token in described]
    with torch.no_grad():
        logits = tiny.load_plain(tiny_llama)(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    want = torch.log_softmax(logits.float(), -1)
    for row, token in enumerate(described):
        assert token.logprob == pytest.approx(float(want[row, token.token_id]), abs=1e-4)
        assert [t.token_id for t in token.top] == want[row].topk(3).indices.tolist()


def test_log_probabilities_of_a_given_text_equal_the_plain_model(tiny_llama: Path, host: Host) -> None:
    ids = [5 + (7 * i) % 200 for i in range(300)]  # longer than one chunk
    scored = host.prompt_logprobs(ids, 2)
    with torch.no_grad():
        want = torch.log_softmax(tiny.load_plain(tiny_llama)(torch.tensor([ids])).logits[0].float(), -1)
    got = torch.tensor([token.logprob for token in scored[1:]])
    assert torch.allclose(got, want[:-1].gather(-1, torch.tensor(ids[1:])[:, None])[:, 0], atol=1e-4)
    assert [t.token_id for t in scored[9].top] == want[8].topk(2).indices.tolist()


def test_a_closed_stream_leaves_the_batch_and_the_memory_is_given_back(host: Host) -> None:
    streams = [host.stream(prompt, replace(GREEDY, max_new_tokens=400, ignore_eos=True)) for prompt in prompts(5)]
    for stream in streams:
        next(stream)
    for stream in streams:
        stream.close()
    wait_until_idle(host)
    assert host._decoder is not None and host._decoder.n_cache_bytes == 0


def test_requests_over_the_bound_are_refused_and_those_within_it_all_finish(
    tiny_llama: Path, settings: Settings
) -> None:
    with running(tiny_llama, settings, serve=ServeConfig(max_streams=2, max_waiting=3)) as host:
        streams = [host.stream([5, 6, 7], replace(GREEDY, ignore_eos=True)) for _ in range(5)]
        with pytest.raises(QueueFull) as refused:
            host.stream([5], GREEDY)
        assert refused.value.status == 429 and refused.value.retry_after_seconds
        assert all(len(ids_of(stream)) == GREEDY.max_new_tokens for stream in streams)


def test_the_context_is_filled_exactly_and_not_overrun(host: Host) -> None:
    n = host.loaded.n_context
    endless = replace(GREEDY, max_new_tokens=1000, ignore_eos=True)
    for n_prompt in (n - 1, n - 2):
        deltas = list(host.stream([5] * n_prompt, endless))
        assert sum(len(delta.token_ids) for delta in deltas) == n - n_prompt
        assert deltas[-1].finish_reason == "length"
    with pytest.raises(ContextLengthExceeded, match="512"):
        host.stream([5] * n, endless)


def test_start_the_reply_with_is_part_of_the_reply(host: Host) -> None:
    deltas = list(host.stream(prompts(1)[0], replace(GREEDY, reply_prefix="Sure: ")))
    assert text_of(deltas).startswith("Sure: ") and text_of(deltas).count("Sure: ") == 1


def test_unloading_during_a_reply_ends_it_with_a_sentence(tiny_llama: Path, settings: Settings) -> None:
    with running(tiny_llama, settings) as host:
        stream = host.stream([5, 6], SamplingConfig(temperature=0.0, max_new_tokens=500, ignore_eos=True))
        next(stream)
        unloading = threading.Thread(target=host.unload)
        unloading.start()
        reasons = []
        try:
            for delta in stream:
                reasons.append(delta.finish_reason)
        except Exception as error:
            assert "unloaded" in str(error)
        else:
            assert reasons[-1] == "length"
        unloading.join()
        assert host.status().state == "empty"


def wait_until_idle(host: Host, timeout_seconds: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_seconds
    while host.status().n_running or host.status().n_waiting:
        assert time.monotonic() < deadline, "requests did not leave"
        time.sleep(0.01)


def test_beam_searches_wait_their_turn_without_holding_up_others(host: Host) -> None:
    beams = [host.stream(prompt, replace(GREEDY, n_beams=2)) for prompt in prompts(7)]
    quick = host.stream([5, 6], replace(GREEDY, max_new_tokens=2))
    assert len(ids_of(quick)) <= 2
    assert all(ids_of(stream) for stream in beams)


def test_the_sampling_defaults_of_the_model_do_not_creep_into_replies_by_generate(
    tiny_llama: Path, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "opinionated"
    shutil.copytree(tiny_llama, folder)
    file = folder / "generation_config.json"
    defaults = {"repetition_penalty": 5.0, "min_new_tokens": 20, "do_sample": True, "temperature": 0.1}
    file.write_text(json.dumps(json.loads(file.read_text()) | defaults))
    with running(folder, settings) as host:
        want = [ids_of(host.stream(prompt, GREEDY)) for prompt in prompts(3)]
        host.loaded.is_batchable = False
        assert [ids_of(host.stream(prompt, GREEDY)) for prompt in prompts(3)] == want


def test_beams_are_ended_by_the_clock_too(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_module, "MAX_SECONDS", 0.05)
    deltas = list(host.stream([5, 6], replace(GREEDY, max_new_tokens=400, n_beams=4, ignore_eos=True)))
    assert deltas[-1].finish_reason == "time"


def test_rotary_scaling_by_the_longest_row_is_found_not_to_batch() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    from llm_app.engine.forward import ATTENTION
    from llm_app.engine.probe import batches_correctly

    scaled = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
    config = LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64, rope_parameters=scaled,
    )  # fmt: skip
    config._attn_implementation = ATTENTION
    assert not batches_correctly(LlamaForCausalLM(config).eval(), 64)


def test_a_prompt_that_nobody_waits_for_any_more_is_not_read_to_its_end(host: Host) -> None:
    layers, streams, seen = host.loaded.model.model.layers, [], []

    def leave(*_: object) -> None:
        seen.append("first")
        streams[0].close()

    first = layers[0].mlp.down_proj.register_forward_hook(leave)
    last = layers[-1].mlp.down_proj.register_forward_hook(lambda *_: seen.append("last"))
    with host.turn.held():  # the prompt is not read before its stream is known here
        streams.append(host.stream(prompts(5)[0] * 3, GREEDY))
    assert ids_of(streams[0]) == []
    first.remove()
    last.remove()
    assert seen == ["first"]
    assert ids_of(host.stream([5, 6, 7], GREEDY)), "the next one is answered"


def test_replies_go_on_behind_a_prompt_that_was_left_while_it_made_the_cache_longer(
    tiny_llama: Path, settings: Settings
) -> None:
    with running(tiny_llama, settings, precision="bf16") as host:
        streams = [host.stream([5 + i, 6, 7], LONG) for i in range(4)]
        started = [len(next(stream).token_ids) for stream in streams]
        layer, left = host.loaded.model.model.layers[0].mlp, []

        def leave(_module: object, _inputs: object, output: torch.Tensor) -> None:
            if left and output.shape[0] > 100:
                left[0].close()

        hook = layer.down_proj.register_forward_hook(leave)
        with host.turn.held():
            left.append(host.stream([9] * 300, LONG))
        assert ids_of(left[0]) == []
        hook.remove()
        assert [n + len(ids_of(stream)) for n, stream in zip(started, streams, strict=True)] == [60] * 4
